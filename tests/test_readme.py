"""The README is true: its commands, its table of options and its tree."""

import re
from pathlib import Path

import pytest

from conftest import ALWAYS, CHOICES, QUESTIONS, REPO, SOMETIMES, Render, load_script

README = (REPO / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", [key for key in QUESTIONS if not key.startswith("_")])
def test_every_question_and_every_value_is_in_the_table(key: str) -> None:
    [row] = [line for line in README.splitlines() if line.startswith("| `") and f"`{key}`" in line.split("|")[1]]
    for value in CHOICES.get(key, []):
        assert f"`{value}`" in row


def test_every_file_of_a_project_is_in_the_tree() -> None:
    tree = README.split("my_lightning_project/\n├")[1].split("```")[0]
    for path in ALWAYS.union(*SOMETIMES.values()):
        name = Path(path).name
        folder = Path(path).parent.name.replace("seed", "my_lightning_project")
        assert name in tree or f"{folder}/" in tree, path


def test_it_gives_the_command_of_ci() -> None:
    command, *more = [line for line in (REPO / ".ci/run").read_text().splitlines() if "pytest" in line]
    assert more == [".venv/bin/pytest -n 2 --dist loadfile tests/clusters"]
    # It needs root, so it is not in the README.
    assert more[0] in (REPO / "CONTRIBUTING.md").read_text().splitlines()
    assert (
        command == "python3 -m venv .venv && .venv/bin/pip install -r tests/requirements.txt && .venv/bin/pytest -n 2"
    )
    assert command in README.splitlines()


def test_the_pictures_exist() -> None:
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (REPO / path).stat().st_size > 0


def test_the_example_is_what_the_default_answers_render(render: Render) -> None:
    build = load_script(REPO / "docs/make_example.py").build
    assert (REPO / "docs/example.md").read_text(encoding="utf-8") == build(render())
