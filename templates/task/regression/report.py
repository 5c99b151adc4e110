"""Pictures of a validation or a test: predicted against true values."""

from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from .datamodule import LitDataModule
from .engine.report import Report


class LitReport(Report):
    """Plot every prediction against its true value, in the target's own unit if the data are the project's own."""

    def draw(self, datamodule: Any, split: str, y_hat: Tensor, y: Tensor) -> dict[str, Figure]:
        name, true, predicted = "target", y.flatten().tolist(), y_hat.flatten().tolist()
        if isinstance(datamodule, LitDataModule):
            [(name, predicted)], [true] = datamodule.decode(y_hat).items(), datamodule.decode(y).values()
        figure = Figure(figsize=(5, 5), layout="constrained")
        axes = figure.add_subplot(aspect="equal")
        axes.scatter(true, predicted, s=12, alpha=0.6)
        ends = [min(true + predicted), max(true + predicted)]
        axes.plot(ends, ends, color="black", linewidth=1, label="perfect")
        axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}")
        axes.legend()
        axes.grid(alpha=0.3)
        return {"predicted": figure}
