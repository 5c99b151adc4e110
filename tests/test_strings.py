"""Free text survives unchanged in every file that contains it, and is never executed."""

import ast
import itertools
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from cookiecutter.generate import generate_context, generate_file
from cookiecutter.prompt import prompt_for_config
from cookiecutter.utils import create_env_with_context, work_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2 import FileSystemLoader

from conftest import CHOICES, REPO, generate, load_hook, render_into

HOOK: Any = load_hook("pre_gen_project")
CORPUS: dict[str, list[str]] = json.loads((REPO / "tests/strings.json").read_text(encoding="utf-8"))
REFUSED: list[dict[str, str]] = json.loads((REPO / "tests/refused.json").read_text(encoding="ascii"))
SOURCE = REPO / "{{cookiecutter.project_slug}}"
HOLDERS = [  # every file that contains free text
    "CITATION.cff",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "src/{{cookiecutter.project_slug}}/__init__.py",
]
LICENSED = re.compile(r"Copyright (?:\(c\) )?\d{4},? (.*?)(?:\. All rights reserved\.)?$", re.MULTILINE)


def accepted(text: str, key: str = "description") -> bool:
    return HOOK.text_problem(text, HOOK.LONGEST[key]) is None


def render_holders(folder: Path, **answers: str) -> Path:
    """Render only HOLDERS, as cookiecutter does, in a third of the time."""
    context = generate_context(str(REPO / "cookiecutter.json"), extra_context=answers)
    context["cookiecutter"] = prompt_for_config(context, no_input=True)
    context["cookiecutter"]["_template"] = str(REPO)
    project = folder / answers["project_slug"]
    (project / "src" / project.name).mkdir(parents=True)
    with work_in(SOURCE):
        environment = create_env_with_context(context)
        environment.loader = FileSystemLoader([".", "../templates"])
        for path in HOLDERS:
            generate_file(str(project), path, context, environment)
    return project


def passes_ruff(folder: Path) -> None:
    """Assert that the packages of all projects in a folder pass ruff."""
    packages = sorted(folder.glob("*/seed/src/seed/__init__.py"))
    assert packages
    for tool in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *tool, "--no-cache", *packages]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout


def read_back(project: Path) -> dict[str, set[str]]:
    """Read each answer from every place; more than one value means that they differ."""
    text = {name: (project / name).read_text(encoding="utf-8") for name in ("LICENSE", "README.md", "pyproject.toml")}
    package = (project / "src/seed/__init__.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(package), clean=False)
    assert docstring is not None
    citation = yaml.safe_load((project / "CITATION.cff").read_text(encoding="utf-8"))
    content = tomllib.loads(text["pyproject.toml"])
    answers = content["tool"]["lit-template"]["answers"]
    heading, _, described, *_ = text["README.md"].split("\n")
    [holder] = LICENSED.findall(text["LICENSE"])
    [author] = content["project"]["authors"]
    return {
        "project_name": {answers["project_name"], heading.removeprefix("# "), citation["title"]},
        "description": {
            answers["description"],
            content["project"]["description"],
            described,
            citation["abstract"],
            docstring.split("\n")[2],
        },
        "author_name": {answers["author_name"], author["name"], holder, citation["authors"][0]["name"]},
    }


def test_the_corpus_is_large_and_accepted() -> None:
    strings = [text for texts in CORPUS.values() for text in texts]
    assert len(CORPUS) >= 15
    assert len(set(strings)) == len(strings) >= 300
    assert [text for text in strings if not accepted(text)] == []


def test_refused_text_is_refused_for_the_right_reason() -> None:
    assert len({each["text"] for each in REFUSED}) == len(REFUSED) >= 40
    for each in REFUSED:
        for key in HOOK.FREE_TEXT:
            problem = HOOK.text_problem(each["text"], HOOK.LONGEST[key])
            assert problem is not None
            assert each["reason"] in problem


@pytest.mark.parametrize("number", range(max(map(len, CHOICES.values()))))
def test_only_these_files_contain_free_text(number: int, tmp_path: Path) -> None:
    answers = {key: values[number % len(values)] for key, values in CHOICES.items()}
    answers |= {key: f'Marker{place}x "\\ # : 数 🎉' for place, key in enumerate(HOOK.FREE_TEXT)}
    whole = render_into(tmp_path / "whole", project_slug="seed", **answers)
    holders = render_holders(tmp_path / "holders", project_slug="seed", **answers)
    found = {path for path in whole.rglob("*") if path.is_file() and re.search(rb"Marker\dx", path.read_bytes())}
    assert {path.relative_to(whole) for path in found} == {
        path.relative_to(holders) for path in holders.rglob("*") if path.is_file()
    }
    for path in found:
        assert path.read_bytes() == (holders / path.relative_to(whole)).read_bytes()


@pytest.mark.parametrize("category", CORPUS)
def test_text_survives_unchanged_and_formatted(category: str, tmp_path: Path) -> None:
    texts = CORPUS[category]
    for number, text in enumerate(texts):
        given_answers = {
            "description": text,
            "author_name": texts[number - 1],
            "project_name": texts[number - 2] if accepted(texts[number - 2], "project_name") else "Seed",
        }
        license = CHOICES["license"][number % len(CHOICES["license"])]
        project = render_holders(tmp_path / str(number), project_slug="seed", license=license, **given_answers)
        assert read_back(project) == {key: {answer} for key, answer in given_answers.items()}
    passes_ruff(tmp_path)


NASTY = st.sampled_from(
    [*"\"'\\#:{}[]%$`&*!|>-@~=,<>/ ", '"""', "'''", ": ", " #", "\\N", "🎉", "👩‍💻", "数", "ש", "e\u0301"]
)
TEXT = st.lists(NASTY | st.characters() | st.text(max_size=5), min_size=1, max_size=40).map("".join).map(str.strip)


def test_any_accepted_text_survives_unchanged_and_formatted(tmp_path: Path) -> None:
    folders = itertools.count()

    @settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much])
    @given(name=TEXT.filter(lambda text: accepted(text, "project_name")), line=TEXT.filter(accepted))
    def survives(name: str, line: str) -> None:
        answers = {"project_name": name, "description": line, "author_name": line[::-1]}
        if not accepted(line[::-1]):  # reversed characters may form a Jinja delimiter
            answers["author_name"] = line
        project = render_holders(tmp_path / str(next(folders)), project_slug="seed", **answers)
        assert read_back(project) == {key: {answer} for key, answer in answers.items()}

    survives()
    passes_ruff(tmp_path)  # all at once


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=st.text(max_size=80))
def test_every_refusal_is_one_line_of_ascii(text: str) -> None:
    answers = {"__asked_slug": text, "project_name": text, "description": text, "author_name": text}
    for line in HOOK.problems(answers):
        assert line.isascii()
        assert line.isprintable()
    assert HOOK.slug_problem(HOOK.suggestion(text)) is None


EVIL = [
    "$(touch pwned)",
    "`touch pwned`",
    '"; touch pwned; "',
    "'; touch pwned; '",
    "''')); import os; os.mkdir('pwned') #",
    '"""; import os; os.mkdir("pwned"); """',
    "!!python/object/apply:os.mkdir [pwned]",
]


@pytest.mark.parametrize("text", EVIL)
def test_no_answer_is_executed(text: str, tmp_path: Path) -> None:
    answers = [f"{key}={text}" for key in HOOK.FREE_TEXT]
    folder = tmp_path / "here"
    folder.mkdir()
    result = generate(folder, "project_slug=seed", *answers, cwd=folder, LIT_TEMPLATE_VERIFY="skip")
    assert result.returncode == 0, result.stdout
    project = folder / "seed"
    assert read_back(project) == {key: {text} for key in HOOK.FREE_TEXT}
    command = [sys.executable, "-c", "import seed"]
    subprocess.run(command, cwd=project, env=os.environ | {"PYTHONPATH": str(project / "src")}, check=True)
    assert not list(tmp_path.rglob("pwned"))


def test_no_slug_is_executed(tmp_path: Path) -> None:
    for text in EVIL:
        assert generate(tmp_path, f"project_slug={text}", cwd=tmp_path).returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_cookiecutter_renders_its_command_line_and_remaining_jinja_is_refused(tmp_path: Path) -> None:
    skip = {"LIT_TEMPLATE_VERIFY": "skip"}
    result = generate(tmp_path, "project_slug=seed", "description={{ 6 * 7 }}", **skip)
    assert result.returncode == 0, result.stdout
    assert read_back(tmp_path / "seed")["description"] == {"42"}  # cookiecutter does this: see SECURITY.md
    result = generate(tmp_path, "project_slug=other", "description={{ '{{' }} 6 * 7 {{ '}}' }}", **skip)
    assert result.returncode == 1
    assert "lit-template: description '{{ 6 * 7 }}' contains '{{', which is Jinja syntax;" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["seed"]
