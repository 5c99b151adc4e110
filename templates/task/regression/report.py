"""What to look at after a validation or a test: predicted against true."""

from matplotlib.figure import Figure
from torch import Tensor

from .datamodule import LitDataModule
from .engine.report import Report


class LitReport(Report):
    """Draw every row's prediction over its true value, in the target's own unit."""

    def draw(self, datamodule: LitDataModule, split: str, outputs: dict[str, Tensor]) -> dict[str, Figure]:
        [(target, predicted)] = datamodule.decode(outputs["y_hat"]).items()
        [true] = datamodule.decode(outputs["y"]).values()
        figure = Figure(figsize=(5, 5), layout="constrained")
        axes = figure.add_subplot(aspect="equal")
        axes.scatter(true, predicted, s=12, alpha=0.6)
        ends = [min(true + predicted), max(true + predicted)]
        axes.plot(ends, ends, color="black", linewidth=1, label="as it is")
        axes.set(xlabel=f"true {target}", ylabel=f"predicted {target}")
        axes.legend()
        axes.grid(alpha=0.3)
        return {"predicted": figure}
