"""A project to train on several processes, slowly enough to be interrupted, and what its runs must have in common.

The tests in this folder are a stage of their own, the second command of .ci/run: each starts what it needs on this host
and ends it by process id, and most need root.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import yaml

from conftest import render_into

PACKAGE = "seed"
SLOW = '''
"""Makes every step slow enough to be interrupted."""

import time

from lightning.pytorch import Callback


class Slow(Callback):
    """Sleep in every step.

    Args:
        seconds: How long.
    """

    def __init__(self, seconds: float = 0.1) -> None:
        self.seconds = seconds

    def on_train_batch_end(self, *args: object) -> None:
        time.sleep(self.seconds)
'''
FIT = [
    *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "4", "--trainer.enable_progress_bar", "false"),
    *("--trainer.callbacks+", f"{PACKAGE}.slow.Slow"),
]


def make_project(folder: Path, **answers: Any) -> Path:
    """Render the default task with a callback that slows it down."""
    project = render_into(folder, project_slug=PACKAGE, logger="csv", **answers)
    (project / "src" / PACKAGE / "slow.py").write_text(SLOW.lstrip())
    return project


def slow_down(project: Path) -> None:
    """Put into configs/train.yaml what `FIT` says, for commands that are given."""
    path = project / "configs/train.yaml"
    config = yaml.safe_load(path.read_text())
    config["trainer"] |= {"accelerator": "cpu", "max_epochs": 4, "enable_progress_bar": False}
    config["trainer"]["callbacks"].append({"class_path": f"{PACKAGE}.slow.Slow"})
    config["last_checkpoint"]["every_n_steps"] = 2
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def environment(project: Path) -> dict[str, str]:
    """Return the environment of a process as if the project were installed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {"PYTHONPATH": str(project / "src"), "PATH": path, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    return os.environ | own


def fit_here(project: Path, name: str, *args: str, processes: int = 2) -> None:
    """Train on this machine without a launcher: the run that others are compared with."""
    spread = ["--trainer.devices", str(processes), "--trainer.strategy", "ddp"] if processes > 1 else []
    slow = [] if "slow.Slow" in (project / "configs/train.yaml").read_text() else FIT
    command = [sys.executable, "-m", f"{PACKAGE}.train", "fit", "--name", name, *slow, *spread, *args]
    result = subprocess.run(
        command, cwd=project, env=environment(project), capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr


def last(project: Path, name: str) -> dict[str, Any]:
    """Read last.ckpt of a run."""
    content: dict[str, Any] = torch.load(project / "runs" / name / "checkpoints/last.ckpt", weights_only=True)
    return content


def norm(project: Path, name: str) -> float:
    """Return the norm of all parameters."""
    values = [value.flatten() for value in last(project, name)["state_dict"].values()]
    return float(torch.cat(values).norm())


def record(project: Path, name: str) -> dict[str, Any]:
    """Read run.json."""
    content: dict[str, Any] = json.loads((project / "runs" / name / "run.json").read_text())
    return content


def require_equal(project: Path, name: str, other: str) -> None:
    """Check that a run has the parameters of another one to the last bit, and one set of logs, and is finished."""
    one, two = last(project, name), last(project, other)
    assert one["global_step"] == two["global_step"]
    assert one["state_dict"].keys() == two["state_dict"].keys()
    for key, value in one["state_dict"].items():
        assert torch.equal(value, two["state_dict"][key]), key
    assert record(project, name)["status"] == "finished"
    assert _rows(project, name) == _rows(project, other)


def _rows(project: Path, name: str) -> list[tuple[str, str]]:
    with (project / "runs" / name / "metrics.csv").open(newline="") as file:
        return [(row["step"], row["val_loss"]) for row in csv.DictReader(file) if row.get("val_loss")]
