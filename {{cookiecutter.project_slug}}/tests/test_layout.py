"""What the projects of a team have in the same place."""

import shutil
from pathlib import Path

import pytest

from {{ cookiecutter.project_slug }}.engine.errors import InputError
from {{ cookiecutter.project_slug }}.engine.layout import differences

NAME = "{{ cookiecutter.project_slug }}"
ROOT = Path(__file__).parents[1]


def test_everything_is_where_the_template_put_it() -> None:
    assert differences(ROOT) == []


def test_what_was_moved_or_deleted_is_named(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copytree(ROOT / "tests", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    package = tmp_path / "src" / NAME
    (package / "models").mkdir()
    (package / "module.py").rename(package / "models" / "module.py")
    found = differences(tmp_path)
    assert f"src/{NAME}/module.py is missing (there is src/{NAME}/models/module.py)" in found
    assert "configs/train.yaml is missing" in found
    assert not [line for line in found if line.startswith("tests/")]


@pytest.mark.parametrize("content", [None, "[project]", "[tool"])
def test_a_project_that_does_not_say_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "pyproject.toml").write_text(content)
    with pytest.raises(InputError, match=r"pyproject\.toml"):
        differences(tmp_path)
