"""Try the options of `fit` before the first trial: one batch of training and one of validation, which leave nothing.

It is the child of `check.py`, and writes what it found as JSON.
"""

import json
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch

from ..engine.cli import CLI, ParsedCLI, user_errors_in_one_line
from ..engine.errors import InputError, listed
from ..engine.record import flatten
from ..engine.results import config_hash, read_config, without_noise
from ..train import FACTS

DRY = "--trainer.fast_dev_run=1"


class _Tried(CLI):
    """The command line of `fit`, without its summary."""

    def after_fit(self) -> None:
        pass


def _config(options: Sequence[str]) -> dict[str, Any]:
    config: dict[str, Any] = without_noise(ParsedCLI(["fit", *options], FACTS, ()).config_dump)
    return config


def _without_facts(config: dict[str, Any]) -> dict[str, Any]:
    """Return what a run learns from, in plain values; facts come from the data."""
    kept: dict[str, Any] = json.loads(json.dumps(without_noise(config), default=str))
    for fact in FACTS:
        kept.get("model", {}).get("init_args", {}).pop(fact, None)
    return kept


def find_path(config: dict[str, Any], name: str) -> list[str] | None:
    """Return the keys that lead to an option in a config, or None: `model.lr` may be at `model.init_args.lr`."""
    path: list[str] = []
    inner: Any = config
    for key in name.split("."):
        if isinstance(inner, dict) and key not in inner and isinstance(inner.get("init_args"), dict):
            path.append("init_args")
            inner = inner["init_args"]
        if not isinstance(inner, dict) or key not in inner:
            return None
        path.append(key)
        inner = inner[key]
    return path


def changes(before: Any, after: Any) -> Any:
    """Return the overlay that makes one config of another."""
    both = isinstance(before, dict) and isinstance(after, dict)
    if not both or before.get("class_path") != after.get("class_path"):
        return after
    return {key: changes(before.get(key), value) for key, value in after.items() if before.get(key) != value}


def _require_options(config: dict[str, Any], names: Sequence[str]) -> dict[str, list[str]]:
    paths = {name: find_path(config, name) for name in names}
    for name, path in paths.items():
        if path is None and name == "data.folds":
            kind = config["data"]["class_path"]
            raise InputError(f"--folds: {kind} takes no `folds` and `fold`; give it both, or repeat with --seeds")
        if path is None:
            known = [option.replace(".init_args", "") for option in flatten(config)]
            [near] = get_close_matches(name, known, n=1, cutoff=0.6) or [""]
            raise InputError(f"{name}: `fit` has no such option{f'; did you mean {near}?' if near else ''}")
    return {name: path for name, path in paths.items() if path}


def main() -> None:
    """Run it: the arguments are the file to write, and what is asked as JSON."""
    answer, asked = Path(sys.argv[1]), json.loads(sys.argv[2])
    with user_errors_in_one_line(["fit"]):
        plain, config = _config([]), _config(asked["options"])
        paths = _require_options(config, asked["names"])
        for values in asked["values"]:
            _config([*asked["options"], *values])
        for run, own in asked["runs"].items():
            if _without_facts(read_config(Path(run))) != _without_facts(_config([*asked["options"], *own])):
                raise InputError(f"{run} was trained with other options; give the same ones, or remove it")
        tried = _Tried(["fit", *asked["options"], *asked["extra"], DRY], FACTS, ())
        metrics = sorted(tried.trainer.callback_metrics)
        monitor = config["best_checkpoint"]["monitor"]
        if monitor not in metrics:
            raise InputError(f"{monitor}: no such metric; there are {listed(metrics, most=50)}")
        if not tried.trainer.is_global_zero:
            return
    found: dict[str, Any] = {
        "overlay": changes(plain, config),
        "config_sha256": config_hash(config),
        "paths": paths,
        "defaults": {name: _at(config, path) for name, path in paths.items()},
        "metric": monitor,
        "mode": config["best_checkpoint"]["mode"],
        "gpus": torch.cuda.device_count(),
    }
    answer.write_text(json.dumps(found, default=str), encoding="utf-8")


def _at(config: Any, path: Sequence[str]) -> Any:
    for key in path:
        config = config[key]
    return config


if __name__ == "__main__":
    main()
