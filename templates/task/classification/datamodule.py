"""The data: rows of a table as numbers and categories, and a class to predict.

By default it is the breast cancer study that ships with scikit-learn: 569 tumors, 30 measurements each, malignant or
benign. Your own table is a config change:

    --data.path my.csv --data.target species
"""

from collections.abc import Sequence
from typing import Any

import polars as pl
from torch import Tensor

from .data.classes import balanced_weights, class_columns, require_every_class, shares
from .data.table import Table
from .data.tabular import TabularDataModule
from .engine.errors import InputError, listed

MEASURED = [
    *("radius", "texture", "perimeter", "area", "smoothness"),
    *("compactness", "concavity", "concave points", "symmetry", "fractal dimension"),
]


class LitDataModule(TabularDataModule):
    """Standardized numbers, codes of categories and class numbers.

    Args:
        balance: Whether to weight classes in the loss, so that rare ones count as much as frequent ones.
        positive: The class that precision, recall and the like are about.
        kwargs: See TabularDataModule.
    """

    DATASET = "the breast cancer study"
    COLUMNS = (
        *(f"mean {name}" for name in MEASURED),
        *(f"{name} error" for name in MEASURED),
        *(f"worst {name}" for name in MEASURED),
        "diagnosis",
    )

    TARGET_IS_CLASS = True
    MODEL_SETTINGS = (*TabularDataModule.MODEL_SETTINGS, "balance", "positive")

    def __init__(self, balance: bool = False, positive: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.balance = balance
        self.positive = positive

    @property
    def in_features(self) -> int:
        """Inputs per row that are numbers: one per number, several per date."""
        return len(self.encoder.inputs)

    @property
    def cardinalities(self) -> list[int]:
        """Categories known in every column of categories."""
        return [len(values) for values in self.fitted["categories"].values()]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.fitted["classes"])

    @property
    def class_weights(self) -> list[float] | None:
        """Weight of every class in the loss, 1 on average; None for equal weights."""
        return balanced_weights(self.fitted["class_counts"]) if self.balance else None

    @property
    def positive_class(self) -> int | None:
        """Number of the positive class, if one is named."""
        if self.positive is None:
            return None
        classes = self.fitted["classes"]
        if self.positive not in classes:
            raise InputError(f"--data.positive {self.positive}: no such class; there are {listed(classes)}")
        return int(classes.index(self.positive))

    def load_dataset(self) -> pl.DataFrame:
        from sklearn.datasets import load_breast_cancer  # a slow import, only for the default dataset

        study = load_breast_cancer()
        *features, target = self.COLUMNS
        classes = pl.Series(target, study.target_names[study.target].tolist())
        return pl.from_numpy(study.data, features).with_columns(classes)

    def fit_target(self) -> dict[str, Any]:
        classes = self._classes()
        numbers = self._class_numbers(self.table, classes)
        require_every_class(self.splits, numbers, classes, self.table.origin)
        counts = numbers[self.splits["train"]].bincount(minlength=len(classes))
        return {"classes": classes, "class_counts": counts.tolist()}

    def describe_data(self) -> dict[str, Any]:
        counts = dict(zip(self.fitted["classes"], self.fitted["class_counts"], strict=True))
        return super().describe_data() | {"train_rows_by_class": counts}

    def target_notes(self) -> list[str]:
        return [shares(self.fitted["classes"], self.fitted["class_counts"], self.balance)]

    def strata(self) -> Tensor:
        """Stratify the split by class."""
        return self._class_numbers(self.table, self.fitted["classes"] if "fitted" in self.__dict__ else self._classes())

    def encode(self, table: Table) -> tuple[Tensor, Tensor]:
        """Turn rows into numbers (rows, in_features) and codes (rows, len(cardinalities))."""
        return self.encoder.standardized(table), self.encoder.codes(table)

    def encode_target(self, table: Table) -> Tensor:
        """Number the classes, int64 of shape (rows,)."""
        return self._class_numbers(table, self.fitted["classes"])

    def decode(self, prediction: Tensor, rows: Sequence[int] = ()) -> dict[str, list[Any]]:
        """Turn logits (n, num_classes) into the predicted class and the probability of each."""
        return class_columns(prediction, self.fitted["targets"][0], self.fitted["classes"])

    def _classes(self) -> list[str]:
        """List the classes in the target column."""
        if len(self.targets) > 1:
            raise InputError(f"--data.target {self.targets}: a classifier predicts one column; name one")
        target, origin = self.targets[0], self.table.origin
        names = sorted(self.table.texts(target).unique().to_list())
        if len(names) == 1:
            raise InputError(f"{origin}: column '{target}' holds a single class, '{names[0]}'; there must be two")
        if 2 * len(names) > len(self.table):
            raise InputError(
                f"{origin}: column '{target}' holds {len(names)} different values in {len(self.table)} rows, which are "
                "no classes; name another column with --data.target"
            )
        return names

    def _class_numbers(self, table: Table, classes: list[str]) -> Tensor:
        names = table.texts(self.targets[0])
        numbers = names.replace_strict(classes, range(len(classes)), default=-1, return_dtype=pl.Int64)
        if (row := numbers.arg_min()) is not None and numbers[row] < 0:
            found, known = f"row {table.row_number(row)} holds class '{names[row]}'", listed(classes)
            raise InputError(f"{table.origin}: {found}, unseen in training; known: {known}")
        return numbers.to_torch()
