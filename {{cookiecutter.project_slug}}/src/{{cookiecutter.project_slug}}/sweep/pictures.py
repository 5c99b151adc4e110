"""Pictures of a search: its history, which parameters mattered, and which values went with which results."""

import math
from pathlib import Path

import optuna
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial

from .space import Parameter, as_text

DPI = 120
LEAST = 4  # different values below which importances are chance


def draw_pictures(
    study: optuna.Study, best_first: list[FrozenTrial], space: dict[str, Parameter], metric: str, folder: Path
) -> None:
    """Draw history.png and parallel.png, and importances.png for enough trials.

    Args:
        study: The study.
        best_first: Its trials that finished, the best first.
        space: Parameters by name.
        metric: What the values are.
        folder: Where to save the pictures.
    """
    figures = {"history": draw_history(best_first, metric), "parallel": draw_parallel(best_first, space, metric)}
    if len({trial.value for trial in best_first}) >= LEAST:
        figures["importances"] = draw_importances(optuna.importance.get_param_importances(study), metric)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=DPI)


def draw_history(best_first: list[FrozenTrial], metric: str) -> Figure:
    """Draw the value of every trial, and the best one so far."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    ranks = {trial.number: rank for rank, trial in enumerate(best_first)}
    numbers = sorted(ranks)
    best_so_far = [min(numbers[: count + 1], key=ranks.__getitem__) for count in range(len(numbers))]
    values = {trial.number: trial.value or 0.0 for trial in best_first}
    axes.plot(numbers, [values[number] for number in numbers], "o", color="tab:blue", alpha=0.6, label="trial")
    axes.step(
        numbers, [values[number] for number in best_so_far], where="post", color="tab:orange", label="best so far"
    )
    axes.set(xlabel="trial", ylabel=metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


def draw_importances(importances: dict[str, float], metric: str) -> Figure:
    """Draw the share that each parameter has in the differences between trials (PED-ANOVA, of Optuna)."""
    figure = Figure(figsize=(6.4, 1.2 + 0.5 * len(importances)), layout="constrained")
    axes = figure.add_subplot()
    names = list(importances)[::-1]
    bars = axes.barh(names, [importances[name] for name in names], color="tab:blue")
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set(xlabel=f"importance for {metric}", xlim=(0, 1.12 * max(importances.values())))
    return figure


def draw_parallel(best_first: list[FrozenTrial], space: dict[str, Parameter], metric: str) -> Figure:
    """Draw every trial as a line through its parameters to its value; the better, the darker."""
    figure = Figure(figsize=(2.2 + 1.8 * len(space), 4), layout="constrained")
    axes = figure.add_subplot()
    values = [trial.value or 0.0 for trial in best_first]
    low, high = min(values), max(values)
    colors = colormaps["viridis"]
    for rank, trial in reversed(list(enumerate(best_first))):  # the best on top
        heights = [_height(parameter, trial.params.get(name)) for name, parameter in space.items()]
        heights.append(((trial.value or 0.0) - low) / ((high - low) or 1.0))
        share = rank / max(1, len(best_first) - 1)
        axes.plot(heights, color=colors(0.95 * share), linewidth=2.5 if rank == 0 else 1.2, alpha=0.9)
    for position, parameter in enumerate(space.values()):
        _label(axes, position, parameter)
    for height, value in ((0.0, low), (1.0, high)):
        _tick(axes, len(space), height, f"{value:.4g}")
    axes.set(xlim=(-0.3, len(space) + 0.6), ylim=(-0.06, 1.06), yticks=[])
    axes.set_xticks(range(len(space) + 1), [name.replace(".", ".\n", 1) for name in (*space, metric)])
    axes.spines[:].set_visible(False)
    axes.grid(axis="x", color="black", alpha=0.4)
    return figure


def _height(parameter: Parameter, value: object) -> float:
    """Return where a value stands between the lowest, 0, and the highest, 1; NaN for none."""
    if parameter.choices:
        texts = list(map(as_text, parameter.choices))
        return texts.index(as_text(value)) / max(1, len(texts) - 1) if as_text(value) in texts else math.nan
    if not isinstance(value, (int, float)):
        return math.nan
    low, high, at = (math.log(x) if parameter.log else x for x in (parameter.low, parameter.high, value))
    return (at - low) / (high - low)


def _label(axes: Axes, position: int, parameter: Parameter) -> None:
    """Write the values beside the axis of a parameter: every choice, or both ends."""
    for value in parameter.choices or parameter.ends:
        _tick(axes, position, _height(parameter, value), as_text(value))


def _tick(axes: Axes, x: float, y: float, text: str) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1}
    axes.text(x + 0.04, y, text, fontsize=8, verticalalignment="center", bbox=box)
