"""Pictures of a validation or a test: predicted against true values."""

from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from .datamodule import LitDataModule
from .engine.report import Report


class LitReport(Report):
    """Plot every prediction against its true value, in the target's own unit if the data are the project's own."""

    def draw(self, datamodule: Any, split: str, y_hat: Tensor, y: Tensor) -> dict[str, Figure]:
        if isinstance(datamodule, LitDataModule):
            true, predicted = datamodule.decode(y), datamodule.decode(y_hat)
        else:
            true, predicted = {"target": y.flatten().tolist()}, {"target": y_hat.flatten().tolist()}
        figure = Figure(figsize=(5 * len(true), 5), layout="constrained")
        for number, name in enumerate(true, start=1):
            axes = figure.add_subplot(1, len(true), number, aspect="equal")
            axes.scatter(true[name], predicted[name], s=12, alpha=0.6)
            values = true[name] + predicted[name]
            ends = [min(values), max(values)]
            axes.plot(ends, ends, color="black", linewidth=1, label="perfect")
            label = name.replace("$", r"\$")  # a dollar sign would start a formula
            axes.set(xlabel=f"true {label}", ylabel=f"predicted {label}")
            axes.legend()
            axes.grid(alpha=0.3)
        return {"predicted": figure}
