"""The one environment of the tests has all that any project asks for."""

import tomllib
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from conftest import CHOICES, Render


@pytest.mark.parametrize("task", CHOICES["task"])
@pytest.mark.parametrize("logger", CHOICES["logger"])
def test_it_satisfies_every_project(render: Render, task: str, logger: str) -> None:
    content = tomllib.loads((render(task=task, logger=logger) / "pyproject.toml").read_text())
    for text in content["project"]["dependencies"] + content["dependency-groups"]["dev"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(version(requirement.name)), text
        assert ">=" in text, f"{text} has no lower bound"
