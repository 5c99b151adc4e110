"""The data: rows of a table as numbers and categories, and a class to predict.

By default it is the breast cancer study that ships with scikit-learn: 569 tumors, 30 measurements each, malignant or
benign. Your own table is a config change:

    --data.path my.csv --data.target species
"""

from collections.abc import Sequence
from typing import Any

import polars as pl
import torch
from torch import Tensor

from .data.classes import class_columns, require_every_class
from .data.table import Table
from .data.tabular import TabularDataModule
from .engine.errors import InputError

MEASURED = [
    *("radius", "texture", "perimeter", "area", "smoothness"),
    *("compactness", "concavity", "concave points", "symmetry", "fractal dimension"),
]


class LitDataModule(TabularDataModule):
    """Standardized numbers, codes of categories and class numbers."""

    DATASET = "the breast cancer study"
    COLUMNS = (
        *(f"mean {name}" for name in MEASURED),
        *(f"{name} error" for name in MEASURED),
        *(f"worst {name}" for name in MEASURED),
        "diagnosis",
    )

    @property
    def in_features(self) -> int:
        """Columns of numbers."""
        return len(self.fitted["numbers"])

    @property
    def cardinalities(self) -> list[int]:
        """Categories known in every column of categories."""
        return [len(values) for values in self.fitted["categories"].values()]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.fitted["classes"])

    def load_dataset(self, columns: list[str]) -> Table:
        from sklearn.datasets import load_breast_cancer  # a slow import, only for the default dataset

        study = load_breast_cancer()
        *features, target = self.COLUMNS
        classes = pl.Series(target, study.target_names[study.target].tolist())
        return Table(pl.from_numpy(study.data, features).with_columns(classes).select(columns), self.DATASET)

    def fit_target(self) -> dict[str, Any]:
        classes = self._classes()
        require_every_class(self.splits, self._class_numbers(self.table, classes), classes, self.table.origin)
        return {"classes": classes}

    def groups(self) -> Tensor:
        """Stratify the split by class."""
        return self._class_numbers(self.table, self._classes())

    def encode(self, table: Table) -> tuple[Tensor, Tensor]:
        """Turn rows into numbers (rows, in_features) and codes (rows, len(cardinalities))."""
        return self.encoder.standardized(table), self.encoder.codes(table)

    def encode_target(self, table: Table) -> Tensor:
        """Number the classes, int64 of shape (rows,)."""
        return self._class_numbers(table, self.fitted["classes"])

    def decode(self, prediction: Tensor, rows: Sequence[int] = ()) -> dict[str, list[Any]]:
        """Turn logits (n, num_classes) into the predicted class and the probability of each."""
        return class_columns(prediction, self.fitted["target"], self.fitted["classes"])

    def _classes(self) -> list[str]:
        """List the classes in the target column."""
        target, origin = self.columns[1], self.table.origin
        names = sorted(set(self.table.texts(target)))
        if len(names) == 1:
            raise InputError(f"{origin}: column '{target}' holds a single class, '{names[0]}'; there must be two")
        if 2 * len(names) > len(self.table):
            raise InputError(
                f"{origin}: column '{target}' holds {len(names)} different values in {len(self.table)} rows, which are "
                "no classes; name another column with --data.target"
            )
        return names

    def _class_numbers(self, table: Table, classes: list[str]) -> Tensor:
        number = {name: number for number, name in enumerate(classes)}
        names = table.texts(self.columns[1])
        for row, name in enumerate(names, start=1):
            if name not in number:
                raise InputError(
                    f"{table.origin}: row {row} holds class '{name}', unseen in training; known: {', '.join(classes)}"
                )
        return torch.tensor([number[name] for name in names])
