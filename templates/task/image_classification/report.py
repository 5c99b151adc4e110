"""What to look at after a validation or a test: which class is taken for which, and the worst mistakes."""

from matplotlib.figure import Figure
from torch import Tensor

from .datamodule import LitDataModule
from .engine.confusion import draw_confusion, worst_mistakes
from .engine.report import Report

SHOWN = 16  # mistakes
ACROSS = 4  # of them


class LitReport(Report):
    """Draw the confusion matrix, and a sheet of the worst mistakes."""

    def draw(self, datamodule: LitDataModule, split: str, outputs: dict[str, Tensor]) -> dict[str, Figure]:
        figures = {"confusion": draw_confusion(outputs["y_hat"], outputs["y"], datamodule.fitted["classes"])}
        if mistakes := self._draw_mistakes(datamodule, split, outputs):
            figures["mistakes"] = mistakes
        return figures

    def _draw_mistakes(self, datamodule: LitDataModule, split: str, outputs: dict[str, Tensor]) -> Figure | None:
        """Draw the images that were given to a wrong class with the highest probability."""
        classes = datamodule.fitted["classes"]
        mistakes = worst_mistakes(outputs["y_hat"], outputs["y"])[:SHOWN]
        if not mistakes:
            return None
        down = -(-len(mistakes) // ACROSS)
        figure = Figure(figsize=(2.2 * ACROSS, 2.6 * down), layout="constrained")
        for number, mistake in enumerate(mistakes, start=1):
            name = datamodule.names[int(datamodule.splits[split][mistake.position])]
            axes = figure.add_subplot(down, ACROSS, number)
            pixels = datamodule.read(datamodule.found[name]).permute(1, 2, 0).numpy()
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
            verdict = f"{classes[mistake.true]} → {classes[mistake.predicted]} ({mistake.probability:.2f})"
            # A name may be long, and hold a dollar, which would begin a formula.
            axes.set_title(f"{name[-30:]}\n{verdict}", fontsize=8, parse_math=False)
            axes.axis("off")
        return figure
