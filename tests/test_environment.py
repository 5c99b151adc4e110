"""One environment has the dependencies of every project."""

import tomllib
from importlib.metadata import version
from itertools import chain

import pytest
from packaging.requirements import Requirement

from conftest import CHOICES, Render


@pytest.mark.parametrize("task", CHOICES["task"])
@pytest.mark.parametrize("logger", CHOICES["logger"])
def test_the_environment_of_the_tests_satisfies_every_project(render: Render, task: str, logger: str) -> None:
    content = tomllib.loads((render(task=task, logger=logger) / "pyproject.toml").read_text())
    for text in [*content["project"]["dependencies"], *chain(*content["dependency-groups"].values())]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(version(requirement.name)), text
        assert ">=" in text, f"{text} has no lower bound"
