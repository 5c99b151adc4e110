"""Answers that cannot make a working project are refused before any file is written, all at once."""

import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conftest import CHOICES, QUESTIONS, Render, generate, load_hook, render_into

HOOK: Any = load_hook("pre_gen_project")
GOOD = {"__asked_slug": "seed", "project_name": "Seed", "description": "Sows", "author_name": "Ada"}


def test_good_answers_are_accepted() -> None:
    assert HOOK.problems(GOOD) == []
    assert HOOK.problems(GOOD | {"__asked_slug": "a" * 64, "author_name": "数 🎉 \"q\" 'q' \\ # : שלום"}) == []


@pytest.mark.parametrize(
    ("slug", "reason", "better"),
    [
        ("", "empty", "my_project"),
        ("a" * 65, "longer than 64", "a" * 64),
        ("My-Project", "a-z", "my_project"),
        ("2d", "begin with a letter", "lit_2d"),
        ("_private", "begin with a letter", "private"),
        ("trailing_", "must not end with _", "trailing"),
        ("two__in_a_row", "two in a row", "two_in_a_row"),
        ("grün", "a-z", "grun"),
        ("数", "a-z", "my_project"),
        ("\uff53eed", "a-z", "seed"),
        ("seed\u202eevil", "a-z", "seedevil"),
        ("a/b", "a-z", "a_b"),
        (r"a\b", "a-z", "a_b"),
        ("../../a", "a-z", "a"),
        ("/tmp/a", "a-z", "tmp_a"),
        (r"C:\a", "a-z", "c_a"),
        ("..", "a-z", "my_project"),
        ("~", "a-z", "my_project"),
        ("~root", "a-z", "root"),
        (".seed", "a-z", "seed"),
        ("seed.", "a-z", "seed"),
        ("-seed", "a-z", "seed"),
        (" seed ", "a-z", "seed"),
        ("a b", "a-z", "a_b"),
        ("seed\n", "a-z", "seed"),
        ("class", "keyword", "lit_class"),
        ("match", "keyword", "lit_match"),
        ("none", "keyword", "lit_none"),
        ("json", "standard library", "lit_json"),
        ("torch", "depends on", "lit_torch"),
        ("pre_commit", "depends on", "lit_pre_commit"),
        ("pyyaml", "depends on", "lit_pyyaml"),
        ("Scikit-Learn", "a-z", "lit_scikit_learn"),
        ("tests", "folder in the project", "lit_tests"),
        ("walkthrough", "folder in the project", "lit_walkthrough"),
        ("python", "command", "lit_python"),
        ("activate", "command", "lit_activate"),
        ("con", "Windows", "lit_con"),
        ("com1", "Windows", "lit_com1"),
    ],
)
def test_a_bad_slug_is_refused_with_a_valid_suggestion(slug: str, reason: str, better: str) -> None:
    [problem] = HOOK.problems(GOOD | {"__asked_slug": slug})
    assert problem.startswith("project_slug ")
    assert reason in problem
    assert problem.endswith(f"; try {better}")
    assert problem.isascii()
    assert len(problem.splitlines()) == 1
    assert HOOK.problems(GOOD | {"__asked_slug": better}) == []


def test_the_distribution_and_import_name_of_every_dependency_are_refused(render: Render) -> None:
    imported: dict[str, set[str]] = {}
    for module, packages in packages_distributions().items():
        for package in packages:
            imported.setdefault(canonicalize_name(package), set()).add(module)
    for task, logger in zip(CHOICES["task"], CHOICES["logger"], strict=True):  # four of each
        content = tomllib.loads((render(project_slug=task, task=task, logger=logger) / "pyproject.toml").read_text())
        required = [*content["project"]["dependencies"], *chain(*content["dependency-groups"].values())]
        for package in {canonicalize_name(Requirement(text).name) for text in required}:
            names = {package, *imported.get(package, set())}
            for name in {name.lower().replace("-", "_") for name in names if not name.startswith("_")}:
                assert HOOK.slug_problem(name), f"{name} of {package}"


@pytest.mark.parametrize("key", ["project_name", "description", "author_name"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("  ", "is empty"),
        ("a" * 2001, "has 2001 characters; write at most"),
        (" a", "begins or ends with whitespace"),
        ("a\u3000", "begins or ends with whitespace"),
        ("two\nlines", "contains U+000A at position 4"),
        ("a\x1b[0m", "contains U+001B"),
        ("a\x85b", "contains U+0085"),
        ("a\u2028b", "contains U+2028"),
        ("a\ud800b", "contains U+D800"),
        ("a\ufffeb", "contains U+FFFE"),
        ("a\u202eb", "direction mark"),
        ("{{ x }}", "Jinja"),
        ("a {% x", "Jinja"),
        ("a }} b", "Jinja"),
    ],
)
def test_free_text_that_cannot_be_rendered_is_refused(key: str, text: str, reason: str) -> None:
    [problem] = HOOK.problems(GOOD | {key: text})
    assert problem.startswith(f"{key} ")
    assert reason in problem
    assert problem.isascii()
    assert len(problem.splitlines()) == 1


def test_the_default_answers_are_accepted() -> None:
    assert (
        HOOK.problems({**GOOD, **{key: QUESTIONS[key] for key in ("project_name", "description", "author_name")}}) == []
    )


SLUGS = ["torch", "", "a/b", "../escaped", "/escaped/from/here", "..", "~", "a b", "con", "a" * 300, "\u0111" * 9000]


@pytest.mark.parametrize("slug", SLUGS, ids=lambda slug: slug[:20])
def test_all_problems_are_reported_at_once_and_nothing_is_left(tmp_path: Path, slug: str) -> None:
    slug = slug.replace("/escaped/", f"{tmp_path}/escaped/") if slug.startswith("/") else slug
    folder = tmp_path / "here"
    result = generate(folder, f"project_slug={slug}", "author_name= ", "description=a\tb")
    assert result.returncode == 1
    lines = [line for line in result.stdout.splitlines() if line.startswith("lit-template:")]
    assert [line.split()[1] for line in lines] == ["project_slug", "description", "author_name"]
    assert list(tmp_path.rglob("*")) == [folder]


def test_an_existing_project_survives_bad_answers(tmp_path: Path) -> None:
    (tmp_path / "a_b").mkdir()
    (tmp_path / "a_b" / "mine.txt").write_text("mine")
    assert generate(tmp_path, "--overwrite-if-exists", "project_slug=a-b").returncode == 1
    assert [path.name for path in (tmp_path / "a_b").iterdir()] == ["mine.txt"]


def test_a_long_name_gives_a_valid_slug(render: Render) -> None:
    assert HOOK.slug_problem(render(project_name="A name " * 28).name) is None


@pytest.mark.parametrize(
    ("asked", "safe"),
    [("My-Seed", "my_seed"), ("../a/b", "a_b"), ("..", "unnamed"), ("数" * 300, None), ("a" * 300, "a" * 64)],
    ids=lambda text: text and text[:10],
)
def test_the_folder_has_a_safe_name_even_without_hooks(tmp_path: Path, asked: str, safe: str | None) -> None:
    folder = tmp_path / "here"
    project = render_into(folder, project_slug=asked)
    assert list(tmp_path.iterdir()) == [folder]
    assert list(folder.iterdir()) == [project]
    assert (project / "src" / project.name / "train.py").exists()
    assert project.name == (safe or HOOK.suggestion(project.name))
