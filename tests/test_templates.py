"""templates/ and cookiecutter.json agree, and the bodies are plain files that tools can read."""

import ast
import re
import subprocess
import sys

import pytest

from conftest import CHOICES, QUESTIONS, REPO

BODIES = sorted(REPO.glob("templates/**/*.py"))
PROJECT = REPO / "{{cookiecutter.project_slug}}"


@pytest.mark.parametrize("option", ["task", "logger", "license", "accelerator", "cluster"])
def test_values_and_bodies_correspond(option: str) -> None:
    assert {path.name.removesuffix(".yaml") for path in (REPO / "templates" / option).iterdir()} == set(CHOICES[option])


@pytest.mark.parametrize("option", ["task", "logger", "cluster"])
def test_all_values_of_an_option_have_the_same_files(option: str) -> None:
    names = [{path.name for path in value.iterdir()} for value in (REPO / "templates" / option).iterdir()]
    # Regression's network is one line of its module; manifests of Kubernetes share parts.
    own = {"network.py"} | {path.name for path in (REPO / "templates/cluster/kubernetes").glob("*.yaml")}
    assert len({frozenset(files - own) for files in names}) == 1


def _names(task: str, file: str, kind: str | None) -> list[str]:
    """List the functions of a task's file, or of a class in it, in order."""
    body = ast.parse((REPO / "templates" / "task" / task / file).read_text()).body
    if kind:
        [body] = [node.body for node in body if isinstance(node, ast.ClassDef) and node.name == kind]
    return [node.name for node in body if isinstance(node, ast.FunctionDef) and (kind or node.name.startswith("test_"))]


@pytest.mark.parametrize(
    ("file", "kind", "tasks", "at_least"),
    [
        ("module.py", "LitModel", CHOICES["task"], 8),
        ("datamodule.py", "LitDataModule", ["regression", "classification"], 6),  # the rest is in data/tabular.py
        ("datamodule.py", "LitDataModule", ["image_classification", "language_model"], 12),
        ("test_module.py", None, CHOICES["task"], 2),
        ("test_datamodule.py", None, CHOICES["task"], 3),
        ("test_report.py", None, CHOICES["task"], 1),
    ],
)
def test_tasks_have_the_same_functions_in_the_same_order(
    file: str, kind: str | None, tasks: list[str], at_least: int
) -> None:
    names = {task: _names(task, file, kind) for task in tasks}
    common = set.intersection(*map(set, names.values()))
    assert len(common) >= at_least
    orders = {task: [name for name in each if name in common] for task, each in names.items()}
    assert len(set(map(tuple, orders.values()))) == 1, orders


def test_every_question_and_value_has_a_prompt() -> None:
    asked = {key for key in QUESTIONS if not key.startswith("_")}
    assert set(QUESTIONS["__prompts__"]) == asked
    for key, values in CHOICES.items():
        prompt = QUESTIONS["__prompts__"][key]
        assert key == "python_version" or set(prompt) == {"__prompt__", *values}
    assert "[" not in str(QUESTIONS["__prompts__"].values()).replace("dict_values([", "")  # rich markup, which vanishes


@pytest.mark.parametrize("body", BODIES, ids=lambda path: path.relative_to(REPO).as_posix())
def test_a_body_is_plain_python(body) -> None:
    ast.parse(body.read_text())
    assert not re.search(r"\{[{%#]", body.read_text())


def test_python_files_contain_no_conditions() -> None:
    for path in PROJECT.rglob("*.py*"):
        if path.is_file():
            assert "{% if" not in path.read_text(), path


def test_folder_names_contain_no_conditions() -> None:
    assert not [path for path in PROJECT.rglob("*") if path.is_dir() and "{%" in path.name]


def test_windows_can_check_out_every_path() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=True).stdout
    assert not [path for path in tracked.splitlines() if re.search(r'[<>:"|?*\\]', path) or len(path) > 160]


def test_the_repository_passes_its_own_linter() -> None:
    for command in (["check"], ["format", "--check"]):
        result = subprocess.run(
            [sys.executable, "-m", "ruff", *command, REPO], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout
