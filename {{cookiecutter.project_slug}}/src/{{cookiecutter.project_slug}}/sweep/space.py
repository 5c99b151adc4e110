"""What to search: `configs/sweep.yaml`."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..engine.errors import InputError, listed

KEYS = ("trials", "metric", "mode", "pruner", "seed", "fit", "space")
PRUNERS = ("median", "hyperband", "none")


@dataclass(frozen=True)
class Parameter:
    """The values of a hyperparameter that are tried: those from low to high, or one of several choices.

    Attributes:
        low: Smallest value.
        high: Largest value; with two whole numbers, only whole numbers are tried.
        log: Whether to draw the logarithm uniformly.
        step: Distance between two values; None for any number.
        choices: Plain values or lists; empty for a range.
    """

    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are tried."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> list[Any]:
        """The values at both ends."""
        return [self.choices[0], self.choices[-1]] if self.choices else [self.low, self.high]

    def described(self) -> dict[str, Any]:
        """Return it as the file has it."""
        if self.choices:
            return {"choices": list(self.choices)}
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}

    def contains(self, value: Any) -> bool:
        """Tell whether a value may be tried."""
        if self.choices:
            return as_text(value) in map(as_text, self.choices)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / (self.step or (1 if self.is_whole else math.inf))
        return math.isclose(steps, round(steps), abs_tol=1e-9)


@dataclass(frozen=True)
class Search:
    """What the file says.

    Attributes:
        trials: Number of trials.
        space: Parameters by the name of their option, without the dashes.
        metric: Metric to optimize; None for that of best.ckpt.
        mode: "min" or "max"; None as for best.ckpt.
        pruner: What stops a trial that falls behind, one of `PRUNERS`.
        seed: Random seed of the search.
        fit: Options of `fit` for every trial.
    """

    trials: int
    space: dict[str, Parameter]
    metric: str | None
    mode: str | None
    pruner: str
    seed: int
    fit: list[str]


def read_search(path: Path) -> Search:
    """Read the file of a search.

    Raises:
        InputError: If it is none, or a parameter has no values to try.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name the file of the search with --space") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not isinstance(content.get("space"), dict) or not content["space"]:
        raise InputError(f"{path}: names no hyperparameter; list them under `space`")
    _require_known(content, KEYS, str(path))
    space = {str(name): _parameter(f"{path}: {name}", values) for name, values in content["space"].items()}
    search = Search(
        trials=content.get("trials", 20),
        space=space,
        metric=content.get("metric"),
        mode=content.get("mode"),
        pruner=str(content.get("pruner") or "none"),
        seed=content.get("seed", 0),
        fit=_split(content.get("fit") or "", path),
    )
    for name, value in (("trials", search.trials), ("seed", search.seed)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InputError(f"{path}: {name}: {value}: must be a whole number of 0 or more")
    if search.pruner not in PRUNERS:
        raise InputError(f"{path}: pruner: {search.pruner}: must be one of {listed(PRUNERS)}")
    if search.mode not in (None, "min", "max"):
        raise InputError(f"{path}: mode: {search.mode}: must be min or max")
    return search


def _split(options: Any, path: Path) -> list[str]:
    with suppress(ValueError):  # an open quote
        if isinstance(options, str):
            return shlex.split(options)
    raise InputError(f"{path}: fit: must be options of `fit` as on the command line, in one text")


def _parameter(where: str, values: Any) -> Parameter:
    if not isinstance(values, dict):
        raise InputError(f"{where}: needs low and high, or choices, such as low: 0.001, high: 0.1, log: true")
    if "choices" in values:
        _require_known(values, ["choices"], where)
        if not isinstance(values["choices"], list) or not values["choices"]:
            raise InputError(f"{where}: choices: must be a list such as [32, 64]")
        return Parameter(choices=tuple(values["choices"]))
    _require_known(values, ("low", "high", "log", "step"), where)
    numbers = {name: _number(values[name], f"{where}: {name}") for name in ("low", "high", "step") if name in values}
    if not isinstance(values.get("log", False), bool):
        raise InputError(f"{where}: log: {values['log']}: must be true or false")
    low, high, step = (numbers.get(name) for name in ("low", "high", "step"))
    if low is None or high is None:
        raise InputError(f"{where}: needs low and high, or choices")
    parameter = Parameter(low, high, values.get("log", False), step)
    if parameter.low >= parameter.high:
        raise InputError(f"{where}: low {parameter.low} must be below high {parameter.high}")
    if parameter.log and parameter.low <= 0:
        raise InputError(f"{where}: low {parameter.low} must be above 0 with log: true")
    if parameter.step is not None and (parameter.log or parameter.step <= 0):
        raise InputError(f"{where}: step {parameter.step} must be above 0, and without log: true")
    if parameter.is_whole and isinstance(parameter.step, float):
        raise InputError(f"{where}: step {parameter.step} must be a whole number, as low and high are")
    return parameter


def _number(value: Any, where: str) -> float:
    """Read a number; YAML takes 1e-4, which lacks a point, for a text."""
    with suppress(TypeError, ValueError):
        number: float = float(value) if isinstance(value, str) else value
        if not isinstance(value, bool) and math.isfinite(number):
            return number
    raise InputError(f"{where}: {value}: must be a number")


def _require_known(content: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    if unknown := [key for key in content if key not in known]:
        raise InputError(f"{where}: {listed(unknown)}: unknown; there are {listed(known)}")


def as_text(value: Any) -> str:
    """Write a value as on the command line."""
    return value if isinstance(value, str) else json.dumps(value)


def as_options(values: Mapping[str, Any]) -> list[str]:
    """Write parameters as options of `fit`."""
    return [f"--{name}={as_text(value)}" for name, value in values.items()]


def as_overlay(values: Mapping[str, Any], paths: Mapping[str, Sequence[str]], base: dict[str, Any]) -> dict[str, Any]:
    """Put parameters into a config.

    Args:
        values: Values by the name of the parameter.
        paths: Keys in the config by the name of the parameter.
        base: What else the config says; it stays as it is.
    """
    overlay: dict[str, Any] = json.loads(json.dumps(base))
    for name, value in values.items():
        inner = overlay
        for key in paths[name][:-1]:
            inner = inner.setdefault(key, {})
        inner[paths[name][-1]] = value
    return overlay
