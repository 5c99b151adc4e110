"""The rendered files, for every value of every question and all pairs of values."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from conftest import ALWAYS, CHOICES, PAIRS, REPO, SOMETIMES, VALUES, Render, files

LONGEST = "a" + "_long_name" * 6 + "_64"  # 64 characters


def _tool(*command: str, cwd: Path) -> None:
    result = subprocess.run([sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_pairs_cover_every_value_of_every_question() -> None:
    for key, values in VALUES.items():
        assert {answers[key] for answers in PAIRS} == set(values)


@pytest.mark.parametrize("answers", PAIRS, ids=lambda answers: "-".join(map(str, answers.values())))
def test_a_project_has_exactly_these_files_and_every_tool_reads_them(
    render: Render, answers: dict[str, str | bool]
) -> None:
    project = render(project_slug="seed", **answers)
    assert files(project) == ALWAYS.union(*(paths for choice, paths in SOMETIMES.items() if choice in answers.items()))

    for path in sorted(project.rglob("*")):
        if path.is_dir():
            continue
        text = path.read_text(encoding="utf-8")
        actions = text.replace("${{ github.", "").replace("${{ matrix.", "") if path.name == "ci.yml" else text
        for residue in ("cookiecutter", "{{", "{%", "{#", "lit_project", "\r"):
            assert residue not in actions, f"{residue} in {path}"
        assert text.endswith("\n"), path
        assert not text.endswith("\n\n"), path
        match path.suffix:
            case ".py":
                compile(text, path, "exec")
            case ".toml":
                tomllib.loads(text)
            case ".yaml" | ".yml" | ".cff":
                assert yaml.safe_load(text)
            case ".json":
                json.loads(text)
    _tool("ruff", "check", ".", cwd=project)
    _tool("ruff", "format", "--check", ".", cwd=project)


@pytest.mark.parametrize("task", CHOICES["task"])
@pytest.mark.parametrize("slug", ["a", LONGEST])
def test_names_of_1_and_64_characters_are_formatted_too(render: Render, slug: str, task: str) -> None:
    assert len(slug) in (1, 64)
    project = render(project_slug=slug, task=task)
    _tool("ruff", "check", ".", cwd=project)
    _tool("ruff", "format", "--check", ".", cwd=project)


def test_the_types_are_correct(render: Render, tmp_path: Path) -> None:
    for task in CHOICES["task"]:  # one after another: what mypy knows of PyTorch takes most of its time
        project = render(project_slug=task, task=task, logger="wandb", walkthrough=True)  # all that adds code
        _tool("mypy", "--cache-dir", str(tmp_path / "mypy"), cwd=project)


def test_the_shell_scripts_pass_shellcheck(render: Render) -> None:
    project = render(project_slug="seed", cluster="slurm")
    scripts = sorted(project.glob("slurm/*.*"))
    assert len(scripts) == 5
    command = [Path(sys.executable).with_name("shellcheck"), "--external-sources", *scripts, REPO / ".ci/run"]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("accelerator", CHOICES["accelerator"])
def test_the_default_config_uses_the_chosen_accelerator(render: Render, accelerator: str) -> None:
    project = render(accelerator=accelerator)
    overlay = yaml.safe_load((project / f"configs/accelerator/{accelerator}.yaml").read_text())["trainer"]
    trainer = yaml.safe_load((project / "configs/train.yaml").read_text())["trainer"]
    assert overlay["accelerator"] == accelerator
    assert {key: trainer[key] for key in overlay} == overlay


@pytest.mark.parametrize(
    ("license", "spdx", "words"),
    [
        ("MIT", "MIT", "Permission is hereby granted, free of charge"),
        ("Apache-2.0", "Apache-2.0", "END OF TERMS AND CONDITIONS"),
        ("BSD-3-Clause", "BSD-3-Clause", "Neither the name of the copyright holder"),
        ("Proprietary", "LicenseRef-Proprietary", "All rights reserved"),
    ],
)
def test_the_license_is_complete(render: Render, license: str, spdx: str, words: str) -> None:
    project = render(license=license, author_name="Ada Lovelace")
    text = (project / "LICENSE").read_text()
    assert words in text
    assert "Ada Lovelace" in text
    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["license"] == spdx


def test_the_oldest_python_is_declared_and_tested(render: Render) -> None:
    project = render(python_version="3.13")
    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["requires-python"] == ">=3.13"
    workflow = yaml.safe_load((project / ".github/workflows/ci.yml").read_text())
    assert workflow["jobs"]["check"]["strategy"]["matrix"]["python-version"] == ["3.13", "3.14"]


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My Lightning Project", "my_lightning_project"),
        ("Größe & Gewicht", "grosse_gewicht"),
        ("3D nets", "lit_3d_nets"),
    ],
)
def test_the_slug_is_derived_from_the_name(render: Render, name: str, slug: str) -> None:
    assert render(project_name=name).name == slug
