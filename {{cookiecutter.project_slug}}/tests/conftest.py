"""Each test runs in a folder of its own, with the project's real configs."""

import csv
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from {{ cookiecutter.project_slug }}.train import main

# Threads of tests that run side by side would wait for each other. PyTorch reads this when it is imported, which takes
# seconds, and which the process that only hands out the tests does not need.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).parents[1]
SHORT = [
    *("--trainer.accelerator", "cpu", "--trainer.limit_train_batches", "6"),
    *("--trainer.limit_val_batches", "2", "--trainer.limit_test_batches", "2"),
]
QUICK = ["--config", "configs/smoke.yaml", *SHORT]
FIRST = [*QUICK, "--model.lr", "0.002", "--model.schedule", "constant"]


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Start in an empty folder that holds `configs/`."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train `runs/first` once for all tests that begin with a trained model."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(ROOT / "configs", folder / "configs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main(["fit", "--name", "first", *FIRST])
    return folder / "runs"


@pytest.fixture
def trained(workdir: Path, runs: Path) -> Path:
    """Start in a folder that holds `configs/` and a copy of `runs/first`, and return the latter."""
    shutil.copytree(runs, workdir / "runs", ignore_dangling_symlinks=True)  # such as those of wandb
    return Path("runs/first")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of plain values and tensors."""
    import torch

    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def read_column(path: str | Path, name: str) -> list[float]:
    """Read a column of numbers from a CSV file, without its empty cells."""
    with Path(path).open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def run_names() -> list[str]:
    """List the runs in `runs/`, if there is one, without what loggers keep there for all runs."""
    kept = ("mlflow", "mlflow.db", "wandb")
    return sorted(path.name for path in Path(".").glob("runs/*") if path.name not in kept)


def error_line(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail, and return its error, which must be a single line."""
    with pytest.raises(SystemExit) as end:
        main(args)
    assert end.value.code not in (0, None)
    [line] = [text for text in f"{end.value.code}\n{capsys.readouterr().err}".splitlines() if "error: " in text]
    return line
