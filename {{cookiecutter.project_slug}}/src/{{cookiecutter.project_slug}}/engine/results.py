"""What a run left in its folder, read without PyTorch: its config and its metrics."""

import csv
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it is there
Curve = dict[int, float]  # step -> value

# Settings that change nothing of what is learned: where a run is kept, and who else is told.
NOISE = (("name",), ("ckpt_path",), ("trainer", "default_root_dir"), ("trainer", "logger"))


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.yaml; empty for a run without one."""
    path = folder / "config.yaml"
    text = path.read_text(encoding="utf-8") if path.exists() else "{}"
    config: dict[str, Any] = yaml.load(text, Loader=LOADER)
    return config


def without_noise(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out the settings that change nothing of what is learned."""
    kept = config | {"trainer": dict(config.get("trainer", {}))}
    for *outer, name in NOISE:
        (kept[outer[0]] if outer else kept).pop(name, None)
    return kept


def config_hash(config: dict[str, Any]) -> str:
    """Return the SHA-256 of a config, whatever the order of its keys, without noise."""
    return hashlib.sha256(json.dumps(without_noise(config), sort_keys=True, default=str).encode()).hexdigest()


def read_curves(folder: Path, prefixes: tuple[str, ...] = ("train_", "val_")) -> dict[str, Curve]:
    """Read metrics by step from `folder/metrics.csv`; the later value wins where a step was logged twice.

    Args:
        folder: The run's folder.
        prefixes: How the names of the metrics begin.
    """
    curves: dict[str, Curve] = {}
    path = folder / "metrics.csv"
    if path.exists():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if value and name.startswith(prefixes):
                        curves.setdefault(name, {})[int(row["step"])] = float(value)
    return {name: dict(sorted(curve.items())) for name, curve in curves.items()}


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
