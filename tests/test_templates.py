"""templates/ and cookiecutter.json say the same, and the bodies are plain files that tools can read."""

import ast
import re
import subprocess
import sys

import pytest

from conftest import CHOICES, QUESTIONS, REPO

BODIES = sorted(REPO.glob("templates/**/*.py"))
PROJECT = REPO / "{{cookiecutter.project_slug}}"


@pytest.mark.parametrize("option", ["task", "logger", "license", "accelerator"])
def test_every_value_has_its_body_and_every_body_its_value(option: str) -> None:
    assert {path.name.removesuffix(".yaml") for path in (REPO / "templates" / option).iterdir()} == set(CHOICES[option])


@pytest.mark.parametrize("option", ["task", "logger"])
def test_the_values_of_an_option_hold_the_same_files(option: str) -> None:
    names = {frozenset(path.name for path in value.iterdir()) for value in (REPO / "templates" / option).iterdir()}
    assert len(names) == 1


def test_every_question_is_put_in_words() -> None:
    asked = {key for key in QUESTIONS if not key.startswith("_")}
    assert set(QUESTIONS["__prompts__"]) == asked
    for key, values in CHOICES.items():
        prompt = QUESTIONS["__prompts__"][key]
        assert key == "python_version" or set(prompt) == {"__prompt__", *values}
    assert "[" not in str(QUESTIONS["__prompts__"].values()).replace("dict_values([", "")  # markup: it would vanish


@pytest.mark.parametrize("body", BODIES, ids=lambda path: path.relative_to(REPO).as_posix())
def test_a_body_is_plain_python(body) -> None:
    ast.parse(body.read_text())
    assert not re.search(r"\{[{%#]", body.read_text())


def test_no_condition_stands_inside_python() -> None:
    for path in PROJECT.rglob("*.py*"):
        if path.is_file() and "{% if" not in path.name:
            assert "{% if" not in path.read_text(), path


def test_no_condition_stands_in_the_name_of_a_folder() -> None:
    assert not [path for path in PROJECT.rglob("*") if path.is_dir() and "{%" in path.name]


def test_windows_can_check_every_path_out() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=True).stdout
    assert not [path for path in tracked.splitlines() if re.search(r'[<>:"|?*\\]', path) or len(path) > 160]


def test_the_repository_passes_its_own_linter() -> None:
    for command in (["check"], ["format", "--check"]):
        result = subprocess.run(
            [sys.executable, "-m", "ruff", *command, REPO], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout
