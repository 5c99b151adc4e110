"""What comes out, for every value of every question and for all pairs of them."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from allpairspy import AllPairs

from conftest import CHOICES, Render, files

VALUES = CHOICES | {"walkthrough": [False, True]}
PAIRS = [dict(zip(VALUES, row, strict=True)) for row in AllPairs(list(VALUES.values()))]
LONGEST = "a" + "_long_name" * 6 + "_64"  # 64 characters

ALWAYS = {
    ".gitattributes",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CITATION.cff",
    "LICENSE",
    "README.md",
    "configs/accelerator/auto.yaml",
    "configs/accelerator/cpu.yaml",
    "configs/accelerator/gpu.yaml",
    "configs/accelerator/mps.yaml",
    "configs/accelerator/tpu.yaml",
    "configs/debug/overfit.yaml",
    "configs/debug/profile.yaml",
    "configs/smoke.yaml",
    "configs/strategy/ddp.yaml",
    "configs/strategy/fsdp.yaml",
    "configs/train.yaml",
    "pyproject.toml",
    "src/seed/__init__.py",
    "src/seed/datamodule.py",
    "src/seed/engine/__init__.py",
    "src/seed/engine/curves.py",
    "src/seed/engine/errors.py",
    "src/seed/engine/fsdp.py",
    "src/seed/engine/loggers.py",
    "src/seed/engine/metrics.py",
    "src/seed/engine/predictions.py",
    "src/seed/engine/resume.py",
    "src/seed/engine/runs.py",
    "src/seed/engine/schedule.py",
    "src/seed/engine/switches.py",
    "src/seed/module.py",
    "src/seed/report.py",
    "src/seed/train.py",
    "tests/conftest.py",
    "tests/test_configs.py",
    "tests/test_datamodule.py",
    "tests/test_module.py",
    "tests/test_report.py",
    "tests/test_train.py",
}
SOMETIMES = {
    ("ci", "github"): {".github/dependabot.yml", ".github/workflows/ci.yml"},
    ("ci", "gitlab"): {".gitlab-ci.yml", "renovate.json"},
    ("logger", "wandb"): {"src/seed/engine/weights_and_biases.py"},
    ("task", "regression"): {f"src/seed/engine/{name}.py" for name in ("batches", "report", "split", "table")},
    ("task", "classification"): {
        f"src/seed/engine/{name}.py" for name in ("batches", "confusion", "report", "split", "table")
    },
    ("task", "image_classification"): {f"src/seed/engine/{name}.py" for name in ("confusion", "report", "split")},
    ("task", "language_model"): {"src/seed/engine/text.py"},
    ("walkthrough", True): {
        "tests/test_walkthrough.py",
        "walkthrough/README.md",
        "walkthrough/__init__.py",
        "walkthrough/check.py",
        "walkthrough/curves.py",
        "walkthrough/data.py",
        "walkthrough/datamodule.py",
        "walkthrough/exercise.py",
        "walkthrough/fit.py",
        "walkthrough/grown.py",
        "walkthrough/mistakes.py",
        "walkthrough/notebook.py",
        "walkthrough/solution.py",
        "walkthrough/the_lightning_solution.ipynb",
        "walkthrough/vanilla.py",
    },
}


def _tool(*command: str, cwd: Path) -> None:
    result = subprocess.run([sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_pairs_hold_every_value_of_every_question() -> None:
    for key, values in VALUES.items():
        assert {answers[key] for answers in PAIRS} == set(values)


@pytest.mark.parametrize("answers", PAIRS, ids=lambda answers: "-".join(map(str, answers.values())))
def test_a_project_is_exactly_these_files_and_every_tool_reads_them(
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
def test_a_name_of_1_or_64_characters_is_formatted_as_well(render: Render, slug: str, task: str) -> None:
    assert len(slug) in (1, 64)
    project = render(project_slug=slug, task=task)
    _tool("ruff", "check", ".", cwd=project)
    _tool("ruff", "format", "--check", ".", cwd=project)


@pytest.mark.parametrize("task", CHOICES["task"])
def test_the_type_checker_is_content(render: Render, task: str) -> None:
    _tool("mypy", cwd=render(task=task, logger="wandb"))  # the only logger that adds code


@pytest.mark.parametrize("accelerator", CHOICES["accelerator"])
def test_the_accelerator_is_where_training_starts_from(render: Render, accelerator: str) -> None:
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
def test_the_licence_is_there_in_full(render: Render, license: str, spdx: str, words: str) -> None:
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
