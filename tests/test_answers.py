"""Answers that cannot make a working project are refused, all at once, before a file is written."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from conftest import QUESTIONS, generate, load_hook

HOOK: Any = load_hook("pre_gen_project")
GOOD = {"project_slug": "seed", "project_name": "Seed", "description": "Sows", "author_name": "Ada"}


def test_good_answers_have_no_problem() -> None:
    assert HOOK.problems(GOOD) == []
    assert HOOK.problems(GOOD | {"project_slug": "a" * 64, "author_name": "数 🎉 \"q\" 'q' \\ # : שלום"}) == []


@pytest.mark.parametrize(
    ("slug", "reason"),
    [
        ("", "empty"),
        ("a" * 65, "longer than 64"),
        ("My-Project", "a-z"),
        ("2d", "begin with a letter"),
        ("_private", "begin with a letter"),
        ("trailing_", "must not end with _"),
        ("two__in_a_row", "two in a row"),
        ("grün", "a-z"),
        ("a/b", "a-z"),
        ("..", "a-z"),
        ("~", "a-z"),
        ("a b", "a-z"),
        ("seed\n", "a-z"),
        ("class", "keyword"),
        ("match", "keyword"),
        ("json", "standard library"),
        ("torch", "depends on"),
        ("tests", "folder in the project"),
        ("con", "Windows"),
        ("com1", "Windows"),
    ],
)
def test_a_slug_that_cannot_be_a_package_is_refused(slug: str, reason: str) -> None:
    [problem] = HOOK.problems(GOOD | {"project_slug": slug})
    assert problem.startswith("project_slug ")
    assert reason in problem
    assert "\n" not in problem


@pytest.mark.parametrize("key", ["project_name", "description", "author_name"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("  ", "empty"),
        ("a" * 2001, "longer than"),
        ("two\nlines", "one line"),
        ("\x1b[0m", "control"),
        ("{{ x }}", "Jinja"),
    ],
)
def test_free_text_that_cannot_be_rendered_is_refused(key: str, text: str, reason: str) -> None:
    [problem] = HOOK.problems(GOOD | {key: text})
    assert problem.startswith(f"{key} ")
    assert reason in problem


def test_the_default_answers_are_good() -> None:
    assert (
        HOOK.problems({**GOOD, **{key: QUESTIONS[key] for key in ("project_name", "description", "author_name")}}) == []
    )


def test_all_problems_are_reported_at_once_and_nothing_is_left(tmp_path: Path) -> None:
    result: subprocess.CompletedProcess[str] = generate(tmp_path, "project_slug=torch", "author_name= ")
    assert result.returncode != 0
    lines = [line for line in result.stdout.splitlines() if line.startswith("lit-template:")]
    assert [line.split()[1] for line in lines] == ["project_slug", "author_name"]
    assert list(tmp_path.iterdir()) == []
