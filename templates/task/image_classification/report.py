"""Pictures of a validation or a test: the confusion matrix and the most confident mistakes."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from .datamodule import LitDataModule
from .engine.mistakes import ClassificationReport, Mistake

COLUMNS = 4  # of pictures


class LitReport(ClassificationReport):
    """Draw the confusion matrix, and the images misclassified with the highest probability."""

    def class_names(self, datamodule: Any) -> list[str] | None:
        return datamodule.fitted["classes"] if isinstance(datamodule, LitDataModule) else None

    def draw_mistakes(self, datamodule: LitDataModule, split: str, mistakes: Sequence[Mistake]) -> Figure:
        classes = datamodule.fitted["classes"]
        rows = -(-len(mistakes) // COLUMNS)
        figure = Figure(figsize=(2.2 * COLUMNS, 2.6 * rows), layout="constrained")
        for number, mistake in enumerate(mistakes, start=1):
            name = datamodule.names[int(datamodule.splits[split][mistake.position])]
            axes = figure.add_subplot(rows, COLUMNS, number)
            pixels = datamodule.read(datamodule.found[name]).permute(1, 2, 0).numpy()
            axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
            verdict = f"{classes[mistake.true]} → {classes[mistake.predicted]} ({mistake.probability:.2f})"
            # A long name is cut; a dollar sign in it would start a formula.
            axes.set_title(f"{name[-30:]}\n{verdict}", fontsize=8, parse_math=False)
            axes.axis("off")
        return figure
