"""Shared by the tests: rendering and generating projects; the choices are read from cookiecutter.json."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from allpairspy import AllPairs
from cookiecutter.main import cookiecutter

os.environ.setdefault("OMP_NUM_THREADS", "1")  # parallel tests would oversubscribe the cores

REPO = Path(__file__).parents[1]
QUESTIONS = json.loads((REPO / "cookiecutter.json").read_text())
CHOICES: dict[str, list[str]] = {key: value for key, value in QUESTIONS.items() if isinstance(value, list)}
CONSTRAINTS = REPO / "tests" / "constraints-bare.txt"
VERIFIED = re.compile(r"VERIFIED: it trains on \w+(?::\d)?\. Loss ([\d.]+) before, ([\d.]+) after, in [\d.]+ s")
VALUES = CHOICES | {"walkthrough": [False, True]}
PAIRS = [dict(zip(VALUES, row, strict=True)) for row in AllPairs(list(VALUES.values()))]

# The files of a project called `seed`: those of every project, and those of some by the answer that brings them.
ALWAYS = {
    ".dockerignore",
    ".gitattributes",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CITATION.cff",
    "Dockerfile",
    "LICENSE",
    "README.md",
    *(f"configs/accelerator/{name}.yaml" for name in ("auto", "cpu", "gpu", "mps", "tpu")),
    *(f"configs/callbacks/{name}.yaml" for name in ("activation_checkpointing", "compile")),
    *(f"configs/callbacks/{name}.yaml" for name in ("early_stopping", "ema", "throughput")),
    *(f"configs/debug/{name}.yaml" for name in ("anomaly", "overfit", "profile")),
    "configs/smoke.yaml",
    "configs/sweep.yaml",
    "configs/strategy/ddp.yaml",
    "configs/strategy/fsdp.yaml",
    "configs/train.yaml",
    "docs/scaling.md",
    "pyproject.toml",
    "src/seed/__init__.py",
    "src/seed/compare.py",
    "src/seed/data/__init__.py",
    "src/seed/data/fingerprint.py",
    "src/seed/datamodule.py",
    *(f"src/seed/doctor/{name}.py" for name in ("__init__", "__main__", "arithmetic", "examine", "findings")),
    *(f"src/seed/doctor/{name}.py" for name in ("launcher", "loading", "machine", "plan", "project")),
    *(f"src/seed/engine/{name}.py" for name in ("__init__", "callbacks", "checkpoints", "cli", "columns_csv")),
    "src/seed/engine/commands.py",
    *(f"src/seed/engine/{name}.py" for name in ("comparison", "console", "contract", "curves", "durable")),
    *(f"src/seed/engine/{name}.py" for name in ("charts", "epoch_loss", "index_page", "page", "panels", "report_page")),
    *(f"src/seed/engine/{name}.py" for name in ("epoch_metrics", "errors", "fsdp", "hardware", "health")),
    *(f"src/seed/engine/{name}.py" for name in ("known_options", "last_checkpoint", "loggers", "metrics", "optimizer")),
    *(f"src/seed/engine/{name}.py" for name in ("launcher", "options", "predictions", "processes", "shares")),
    *(f"src/seed/engine/{name}.py" for name in ("progress", "provenance", "random_state", "record", "replay")),
    *(f"src/seed/engine/{name}.py" for name in ("results", "resumed_logs", "runs", "schedule", "startup")),
    *(f"src/seed/engine/{name}.py" for name in ("step_log", "stop", "trackers", "training_loop", "weights", "workers")),
    *(f"src/seed/export/{name}.py" for name in ("__init__", "__main__", "adapter", "exporting", "parity", "plain")),
    "src/seed/export/predict.py",
    "src/seed/module.py",
    "src/seed/report.py",
    *(f"src/seed/serve/{name}.py" for name in ("__init__", "__main__", "app", "arrays", "limits", "model")),
    *(f"src/seed/serve/{name}.py" for name in ("problems", "routes", "rows", "server")),
    "src/seed/serve/page.html",
    *(f"src/seed/sweep/{name}.py" for name in ("__init__", "__main__", "check", "children", "dry_run")),
    *(f"src/seed/sweep/{name}.py" for name in ("fit_and_test", "outcome", "pictures", "progress", "repeats")),
    *(f"src/seed/sweep/{name}.py" for name in ("search", "space", "study")),
    "src/seed/train.py",
    *(f"tests/{name}.py" for name in ("faults", "own", "test_faults", "test_logs")),
    *(f"tests/{name}.py" for name in ("conftest", "examples", "test_callbacks", "test_checkpoints")),
    *(f"tests/{name}.py" for name in ("test_compare", "test_configs", "test_data", "test_datamodule", "test_learning")),
    *(f"tests/{name}.py" for name in ("test_mistakes", "test_module", "test_provenance", "test_report", "test_train")),
    "tests/test_doctor.py",
    "tests/test_epoch_loss.py",
    "tests/test_export.py",
    "tests/test_hardware.py",
    "tests/test_processes.py",
    "tests/test_report_page.py",
    "tests/test_serve.py",
    "tests/test_startup.py",
    "tests/test_sweep.py",
    "tests/test_training_loop.py",
}
TABLES = {
    "src/seed/columns.py",
    "src/seed/export/table.py",
    *(f"src/seed/data/{name}.py" for name in ("batches", "columns", "encoder", "mapped", "reading", "rows", "split")),
    *(f"src/seed/data/{name}.py" for name in ("table", "table_split", "tabular", "values")),
    *(f"tests/{name}.py" for name in ("table_examples", "test_reading", "test_table_splits", "test_tables")),
}
SOMETIMES: dict[tuple[str, str | bool], set[str]] = {
    ("ci", "github"): {".github/ISSUE_TEMPLATE/bug.yml", ".github/dependabot.yml", ".github/workflows/ci.yml"},
    ("ci", "gitlab"): {".gitlab-ci.yml", ".gitlab/issue_templates/bug.md", "renovate.json"},
    ("cluster", "ray"): {
        "docs/ray.md",
        *(f"src/seed/{name}.py" for name in ("ray_sweep", "ray_train")),
        *(f"src/seed/engine/{name}.py" for name in ("ray_launch", "ray_worker")),
    },
    ("task", "regression"): {*TABLES, "src/seed/engine/report.py"},
    ("task", "classification"): {
        *TABLES,
        "src/seed/data/classes.py",
        *(f"src/seed/engine/{name}.py" for name in ("mistakes", "report")),
        "src/seed/network.py",
    },
    ("task", "image_classification"): {
        *(f"src/seed/data/{name}.py" for name in ("classes", "images", "labels", "split")),
        *(f"src/seed/engine/{name}.py" for name in ("mistakes", "report")),
        "src/seed/network.py",
    },
    ("task", "language_model"): {
        *(f"src/seed/data/{name}.py" for name in ("documents", "text")),
        "src/seed/network.py",
    },
    ("cluster", "kubernetes"): {
        "docs/kubernetes.md",
        *(f"kubernetes/{name}" for name in ("Dockerfile", "Dockerfile.dockerignore", "jobset.yaml", "pvc.yaml")),
        *(f"kubernetes/{name}.yaml" for name in ("runtime", "sweep", "trainjob")),
    },
    ("cluster", "slurm"): {
        "docs/slurm.md",
        *(f"slurm/{name}" for name in ("job.sh", "seeds.sbatch", "sweep.sbatch", "task.sh", "train.sbatch")),
    },
    ("cluster", "skypilot"): {"docs/skypilot.md", "sky.yaml"},
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

DEFAULT = ALWAYS | SOMETIMES["ci", "github"] | SOMETIMES["task", "regression"]


def load_script(path: Path) -> ModuleType:
    """Import a script that is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_hook(name: str) -> ModuleType:
    """Import an unrendered hook: its only Jinja is in the last line, which does not run on import."""
    return load_script(REPO / "hooks" / f"{name}.py")


Render = Callable[..., Path]


def render_into(folder: Path, **answers: Any) -> Path:
    """Render without hooks."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(
        cookiecutter(
            str(REPO),
            no_input=True,
            extra_context=answers,
            output_dir=str(folder),
            accept_hooks=False,
            default_config=True,
        )
    )


@pytest.fixture
def render(tmp_path: Path) -> Render:
    """Render without hooks into the test's folder."""
    return lambda **answers: render_into(tmp_path, **answers)


def files(project: Path) -> set[str]:
    """List a project's files by path, without git's."""
    paths = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    return {path for path in paths if not path.startswith(".git/")}


@cache
def told_to_pip() -> dict[str, str]:
    """Translate pip's settings on this machine, from variables or files, to uv's variables."""
    told = {"UV_SYSTEM_CERTS": "1"}
    for name, word in (("find-links", "UV_FIND_LINKS"), ("cert", "SSL_CERT_FILE")):
        command = [sys.executable, "-m", "pip", "config", "get", f"global.{name}"]
        filed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        if value := os.environ.get(f"PIP_{name.upper().replace('-', '_')}") or filed.strip():
            told[word] = value
    return told


def generation(
    folder: Path,
    *args: str,
    python: str | Path = sys.executable,
    template: str | Path = REPO,
    within: tuple[str, ...] = (),
    **environment: str | None,
) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment with which a user runs cookiecutter, hooks included.

    Args:
        folder: The output folder.
        args: Further arguments and answers.
        python: The Python that runs cookiecutter.
        template: The template to render.
        within: A command to run it under, such as `unshare`.
        environment: Variables to set; None removes one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [*within, str(python), "-P", "-m", "cookiecutter", "-o", str(folder)]
    if "--replay" in args or "--replay-file" in args:
        command += [*args, str(template)]
    else:
        command += ["--no-input", "--default-config", str(template), *args]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("LIT_TEMPLATE_")}
    # Pin the same small PyTorch for both installers.
    inherited |= {"PIP_CONSTRAINT": str(CONSTRAINTS), "UV_CONSTRAINT": str(CONSTRAINTS)}
    inherited = told_to_pip() | inherited
    return command, {key: value for key, value in (inherited | environment).items() if value is not None}


def generate(*args: Any, cwd: Path | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run cookiecutter as in `generation`, without a terminal."""
    command, environment = generation(*args, **options)
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        cwd=cwd,
        start_new_session=True,
        env=environment,
    )


def in_project(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a Python command in a project as if the project were installed."""
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    result = subprocess.run(
        [sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def train(project: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run the command line of a project with the default name."""
    return in_project(project, "-m", "my_lightning_project.train", *args)


def is_complete(project: Path) -> bool:
    """Tell whether a default project `seed` has all its files and no environment."""
    return files(project) == DEFAULT and not (project / ".venv").exists()


def machine(folder: Path, *without: str, uv: bool = False) -> tuple[Path, dict[str, str | None]]:
    """Make an environment with links to the packages of the running one, except for some.

    Returns:
        Its Python, and environment variables that hide all others.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    [own] = folder.glob("lib/python3*/site-packages")
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not re.match(rf"({'|'.join(without)})(-[\d.+a-z]+\.dist-info)?$" if without else "$", path.name):
            (own / path.name).symlink_to(path)
    if uv:
        (folder / "bin/uv").symlink_to(Path(sys.executable).with_name("uv"))
    path = os.pathsep.join([str(folder / "bin"), "/usr/local/bin", "/usr/bin", "/bin"])
    quick = {"UV_COMPILE_BYTECODE": "0", "UV_NO_CONFIG": "1"}  # of a dozen environments
    return folder / "bin/python", {"PATH": path, "VIRTUAL_ENV": None, "CONDA_PREFIX": None, **quick}


def template_with(folder: Path, old: str, new: str, path: str) -> Path:
    """Copy the template into a folder, with one change to one of its files."""
    template = folder / "template"
    shutil.copytree(REPO, template, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__"))
    text = (template / path).read_text()
    assert old in text
    (template / path).write_text(text.replace(old, new))
    return template
