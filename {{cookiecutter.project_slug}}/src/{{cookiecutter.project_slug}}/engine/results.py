"""What a run left in its folder, read without PyTorch: its config and its metrics."""

import csv
import hashlib
import json
import math
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from .errors import InputError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it is there
UNREADABLE = (OSError, TypeError, ValueError, yaml.YAMLError)  # raised for a file that is not a config
Curve = dict[int, float]  # step -> value

STAGES = ("train_", "val_", "train/", "val/")
NAME = re.compile(r"(train|val|test)[_/](.+?)(?:_step|_epoch)?")
SPEED = re.compile(r"train/(?:(?:device|global)/.*|time|batches|samples|lengths)")  # of Lightning's ThroughputMonitor

# Settings that change nothing of what is learned: where a run is kept, and who else is told.
NOISE = (("name",), ("ckpt_path",), ("trainer", "default_root_dir"), ("trainer", "logger"))


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.yaml; empty for a run without one.

    Raises:
        InputError: If it cannot be read.
    """
    path = folder / "config.yaml"
    try:
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER) if path.exists() else {}
        return dict(config or {})
    except UNREADABLE:
        raise InputError(f"{path}: not a config; restore it, or delete it") from None


def without_noise(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out the settings that change nothing of what is learned."""
    kept = config | {"trainer": dict(config.get("trainer", {}))}
    for *outer, name in NOISE:
        (kept[outer[0]] if outer else kept).pop(name, None)
    return kept


def config_hash(config: dict[str, Any]) -> str:
    """Return the SHA-256 of a config, whatever the order of its keys, without noise."""
    return hashlib.sha256(json.dumps(without_noise(config), sort_keys=True, default=str).encode()).hexdigest()


def stage_and_metric(name: str) -> tuple[str, str] | None:
    """Split a name such as "train_loss_epoch" or "val/loss" into "train" or "val" and "loss".

    Lightning appends `_step` and `_epoch` where a value is logged as both. Other names, such as "lr-SGD", have no
    stage: the result is None.
    """
    found = None if SPEED.fullmatch(name) else NAME.fullmatch(name)
    return (found[1], found[2]) if found else None


def read_curves(folder: Path, prefixes: tuple[str, ...] = STAGES) -> dict[str, Curve]:
    """Read metrics by step from `folder/metrics.csv`; the later value wins where a step was logged twice.

    Args:
        folder: The run's folder.
        prefixes: How the names of the metrics begin.
    """
    path = folder / "metrics.csv"
    if not path.exists():
        return {}
    facts = path.stat()
    curves = _read_curves(path.absolute(), facts.st_mtime_ns, facts.st_size)
    return {name: curve for name, curve in curves.items() if name.startswith(prefixes) and not SPEED.fullmatch(name)}


@lru_cache(maxsize=2)  # what is printed and drawn at the end of a run reads the same file
def _read_curves(path: Path, modified: int, size: int) -> dict[str, Curve]:
    with path.open(newline="") as file:
        rows = csv.reader(file)
        names = next(rows, [])
        curves: dict[str, Curve] = {name: {} for name in names if name not in ("epoch", "step")}
        columns = [(number, curves[name]) for number, name in enumerate(names) if name in curves]
        position = names.index("step") if "step" in names else 0
        for row in rows:
            if len(row) < len(names):
                continue  # it was being written when the run was killed
            step = int(row[position])
            for number, curve in columns:
                if row[number]:
                    curve[step] = float(row[number])
    return {name: dict(sorted(curve.items())) for name, curve in curves.items() if curve}


def read_test(folder: Path) -> dict[str, float]:
    """Read the metrics of the last `test` from `folder/metrics-test.csv`."""
    path = folder / "metrics-test.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        cells = [cell for row in csv.DictReader(file) for cell in row.items()]
    return {name: float(value) for name, value in cells if value and name not in ("epoch", "step")}


def best_step(curve: Curve, mode: str) -> int | None:
    """Return the step of the best value, as for best.ckpt: of a trained model, if there is one.

    Args:
        curve: Values by step.
        mode: "min" or "max": which of them is best.
    """
    judged = {step: value for step, value in curve.items() if not math.isnan(value)}
    if len(judged) > 1:
        judged.pop(0, None)  # step 0 is the untrained model, which is never saved
    return (min if mode == "min" else max)(judged, key=lambda step: judged[step], default=None)
