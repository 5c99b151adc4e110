"""What to look at after a validation or a test: which class is taken for which, and the worst mistakes."""

from matplotlib.figure import Figure
from torch import Tensor

from .datamodule import LitDataModule
from .engine.confusion import draw_confusion, worst_mistakes
from .engine.report import Report

SHOWN = 16  # mistakes
FEATURES = 5  # of each


class LitReport(Report):
    """Draw the confusion matrix, and a sheet of the worst mistakes."""

    def draw(self, datamodule: LitDataModule, split: str, outputs: dict[str, Tensor]) -> dict[str, Figure]:
        figures = {"confusion": draw_confusion(outputs["y_hat"], outputs["y"], datamodule.fitted["classes"])}
        if mistakes := self._draw_mistakes(datamodule, split, outputs):
            figures["mistakes"] = mistakes
        return figures

    def _draw_mistakes(self, datamodule: LitDataModule, split: str, outputs: dict[str, Tensor]) -> Figure | None:
        """Draw a table of the rows that were given to a wrong class with the highest probability."""
        classes, frame = datamodule.fitted["classes"], datamodule.table.frame
        shown = datamodule.columns[0][:FEATURES]
        cells = []
        for mistake in worst_mistakes(outputs["y_hat"], outputs["y"])[:SHOWN]:
            row = int(datamodule.splits[split][mistake.position])
            values = [str(value)[:10] for value in frame.select(shown).row(row)]
            verdict = [classes[mistake.true], classes[mistake.predicted], f"{mistake.probability:.2f}"]
            cells.append([str(row + 1), *verdict, *values])
        if not cells:
            return None
        header = ["row", "true", "predicted", "probability", *shown]
        figure = Figure(figsize=(1.5 * len(header), 0.6 + 0.3 * len(cells)), layout="constrained")
        axes = figure.add_subplot()
        axes.axis("off")
        axes.table(cells, colLabels=header, loc="center")
        return figure
