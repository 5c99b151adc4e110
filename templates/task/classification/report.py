"""Pictures of a validation or a test: the confusion matrix and the most confident mistakes."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from .datamodule import LitDataModule
from .engine.mistakes import ClassificationReport, Mistake

FEATURES = 5  # shown of every mistake


class LitReport(ClassificationReport):
    """Draw the confusion matrix, and a table of the rows misclassified with the highest probability."""

    def class_names(self, datamodule: Any) -> list[str] | None:
        return datamodule.fitted["classes"] if isinstance(datamodule, LitDataModule) else None

    def draw_mistakes(self, datamodule: LitDataModule, split: str, mistakes: Sequence[Mistake]) -> Figure:
        classes, shown = datamodule.fitted["classes"], datamodule.columns[0][:FEATURES]
        rows = [int(datamodule.splits[split][mistake.position]) for mistake in mistakes]
        cells = []
        for mistake, row, found in zip(mistakes, rows, datamodule.table.rows(rows, shown).iter_rows(), strict=True):
            values = ["" if value is None else str(value)[:10] for value in found]
            verdict = [classes[mistake.true], classes[mistake.predicted], f"{mistake.probability:.2f}"]
            cells.append([str(datamodule.table.row_number(row)), *verdict, *values])
        header = ["row", "true", "predicted", "probability", *shown]
        figure = Figure(figsize=(1.5 * len(header), 0.6 + 0.3 * len(cells)), layout="constrained")
        axes = figure.add_subplot()
        axes.axis("off")
        axes.table(cells, colLabels=header, loc="center")
        return figure
