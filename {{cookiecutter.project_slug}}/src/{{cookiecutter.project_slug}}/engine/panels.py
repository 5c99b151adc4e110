"""What the learning curves show: for every metric one panel, with training and validation at the same steps."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from .results import Curve, stage_and_metric

WINDOWS = 20  # of a running mean in a run
RATIO = 100  # of the largest to the smallest value, above which a scale is logarithmic: a loss may start in thousands
CUT = 20  # one in so many single batches may lie above the picture, and one below


class Scale(NamedTuple):
    """The vertical axis of a panel."""

    low: float
    high: float
    is_logarithmic: bool


@dataclass
class Panel:
    """The curves of one metric.

    Attributes:
        metric: Its name, without the stage.
        batches: Training values of single batches.
        train: Training values per epoch.
        val: Validation values.
    """

    metric: str
    batches: Curve = field(default_factory=dict)
    train: Curve = field(default_factory=dict)
    val: Curve = field(default_factory=dict)

    def lines(self) -> list[tuple[str, str, Curve]]:
        """Return the curves to draw, those at the back first: "batches", "train" or "val", a label, and the curve.

        Where there are not two epochs yet, a running mean of the batches takes the place of the means of epochs.
        """
        trend = "train, mean of each epoch", self.train
        if len(self.train) < 2 < len(self.batches):
            trend = "train, running mean", running_mean(self.batches)
        found = [
            ("batches", "train, single batches", self.batches),
            ("train", *trend),
            ("val", "validation", self.val),
        ]
        return [(kind, label, curve) for kind, label, curve in found if curve]

    def scale(self) -> Scale:
        """Return the range of the values, without the extremes of single batches."""
        front = _finite([*self.train.values(), *self.val.values()])
        batches = sorted(_finite(self.batches.values()))
        cut = len(batches) // CUT if front else 0
        shown = front + batches[cut : len(batches) - cut]
        judged = front or shown
        logarithmic = bool(judged) and min(judged) > 0 and max(judged) / min(judged) > RATIO
        if logarithmic:
            shown = [value for value in shown if value > min(judged) / RATIO]
        low, high = (min(shown), max(shown)) if shown else (0.0, 1.0)
        if logarithmic:
            return Scale(low / 1.2, high * 1.2, True)
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        return Scale(low - margin, high + margin, False)


def make_panels(curves: dict[str, Curve]) -> list[Panel]:
    """Sort curves into panels, that of the loss first: it is what training minimizes."""
    ends = {step for name, curve in curves.items() if name.endswith("_epoch") for step in curve}
    ends |= {step for name, curve in curves.items() if name.startswith("val") for step in curve}
    panels: dict[str, Panel] = {}
    for name, curve in curves.items():
        if (parts := stage_and_metric(name)) is None:
            continue
        stage, metric = parts
        panel = panels.setdefault(metric, Panel(metric))
        if stage == "val":
            panel.val |= curve
        elif name.endswith("_epoch") or (curve.keys() <= ends and f"{name}_epoch" not in curves):
            panel.train |= curve
        else:
            panel.batches |= curve
    return sorted(panels.values(), key=lambda panel: panel.metric != "loss")


def running_mean(curve: Curve) -> Curve:
    """Average each value with those before it, over a twentieth of the curve."""
    finite = {step: value for step, value in curve.items() if math.isfinite(value)}
    sums = [0.0, *accumulate(finite.values())]
    window = max(2, len(finite) // WINDOWS)
    starts = [max(0, end - window) for end in range(1, len(sums))]
    means = [(sums[end] - sums[start]) / (end - start) for end, start in enumerate(starts, start=1)]
    return dict(zip(finite, means, strict=True))


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]
