"""The data: read a table, split it, standardise it, hand it out in batches.

Without a path it is the breast cancer study that comes with scikit-learn: 569 tumours, 30 measurements
each, and whether it was malignant. Your own table is a matter of configuration:

    --data.path my.csv --data.target species
"""

from functools import cached_property
from typing import Any, TypedDict

import polars as pl
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from .engine.batches import BatchedTensors, whole_batch
from .engine.errors import InputError, require_positive
from .engine.split import deal
from .engine.table import Encoder, Table, column_names

MEASURED = [
    *("radius", "texture", "perimeter", "area", "smoothness"),
    *("compactness", "concavity", "concave points", "symmetry", "fractal dimension"),
]
BREAST_CANCER = [
    *(f"mean {name}" for name in MEASURED),
    *(f"{name} error" for name in MEASURED),
    *(f"worst {name}" for name in MEASURED),
    "diagnosis",
]


class Fitted(TypedDict):
    """What was measured on the training rows, in plain values: a checkpoint loads with `weights_only=True`."""

    target: str  # declared, or the command line would take the class "1" of a checkpoint for a number
    classes: list[str]
    numbers: dict[str, list[float]]
    categories: dict[str, list[str]]


class LitDataModule(LightningDataModule):
    """A table in which some columns, of numbers or of categories, tell the class of a row.

    Args:
        path: CSV or Parquet file; without one, the breast cancer study.
        target: Column of classes.
        features: Columns to predict it from; by default all the others.
        categorical: Features that hold categories although they look like numbers; text always does.
        batch_size: Rows per step.
        shuffle: Whether each epoch sees the training rows in a new order.
        val_fraction: Share of the rows kept for validation.
        test_fraction: Share of the rows kept for the test.
        split_seed: The same seed always gives the same split.
        fitted: What was measured on the training rows; comes with a checkpoint.

    Raises:
        InputError: If the file, a column or a value in it cannot be used.
    """

    # What the model has to know of the data: the command line hands these to its arguments of the same names.
    shapes = ("in_features", "cardinalities", "num_classes")

    def __init__(
        self,
        path: str | None = None,
        target: str | None = None,
        features: list[str] | None = None,
        categorical: list[str] | None = None,
        batch_size: int = 32,
        shuffle: bool = True,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        fitted: Fitted | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        require_positive("data", batch_size=batch_size)
        self.path = path
        self.target = target
        self.features = features
        self.categorical = categorical or []
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed

    @property
    def in_features(self) -> int:
        """Numbers in a row."""
        return len(self.fitted["numbers"])

    @property
    def cardinalities(self) -> list[int]:
        """Categories that the training rows have shown, for every column of them."""
        return [len(values) for values in self.fitted["categories"].values()]

    @property
    def num_classes(self) -> int:
        """Classes to tell apart."""
        return len(self.fitted["classes"])

    def setup(self, stage: str) -> None:
        """Read, split and encode."""
        if stage == "predict":
            self.x = self._encode(self._read(self.columns[0]))
            return
        self.x = self._encode(self.table)
        self.y = self._number(self.table, self.fitted["classes"])

    def train_dataloader(self) -> DataLoader:
        return self._load("train", shuffle=self.shuffle)

    def val_dataloader(self) -> DataLoader:
        return self._load("val")

    def test_dataloader(self) -> DataLoader:
        return self._load("test")

    def predict_dataloader(self) -> DataLoader:
        """All rows of the file in its own order, without the target."""
        return self._batches(*self.x)

    def decode(self, prediction: Tensor) -> dict[str, list[Any]]:
        """Turn the model's scores (n, num_classes) into the predicted class, and the probability of every one."""
        classes, scores = self.fitted["classes"], prediction.float().softmax(dim=1)
        names = [classes[number] for number in scores.argmax(dim=1).tolist()]
        probabilities = {f"probability_{name}": scores[:, number].tolist() for number, name in enumerate(classes)}
        return {self.fitted["target"]: names, **probabilities}

    @cached_property
    def columns(self) -> tuple[list[str], str]:
        """Names of the features and of the target."""
        if known := self.hparams["fitted"]:
            return [*known["numbers"], *known["categories"]], known["target"]
        target = self.target or (BREAST_CANCER[-1] if self.path is None else None)
        present = BREAST_CANCER if self.path is None else column_names(self.path)
        if target is None:
            raise InputError(f"name the column to predict with --data.target; {self.path} has: {', '.join(present)}")
        features = self.features or [name for name in present if name != target]
        if not features:
            raise InputError(f"{self.path} has no column besides the target '{target}'")
        return features, target

    @cached_property
    def table(self) -> Table:
        """The rows, with the features and the target."""
        features, target = self.columns
        return self._read([*features, target])

    @cached_property
    def splits(self) -> dict[str, Tensor]:
        """Row numbers of the three splits, dealt out at random but always alike, to each its share of every class."""
        classes = self._classes(self.table)
        numbers = self._number(self.table, classes)
        splits = deal(numbers, self.val_fraction, self.test_fraction, self.split_seed)
        for name, rows in splits.items():
            if len(rows) == 0:
                raise InputError(f"{self.table.origin}: {len(numbers)} rows leave 0 for the {name} split: add rows")
        for number in sorted(set(numbers.tolist()) - set(numbers[splits["train"]].tolist())):
            raise InputError(
                f"{self.table.origin}: class '{classes[number]}' has too few rows to leave one for the train split: "
                "add rows of it, or lower --data.val_fraction and --data.test_fraction"
            )
        return splits

    @cached_property
    def fitted(self) -> Fitted:
        """What was measured on the training rows; every checkpoint holds it."""
        if self.hparams["fitted"] is None:
            (features, target), train = self.columns, self.splits["train"]
            encoder = Encoder.measure(self.table, features, self.categorical, train)
            self.hparams["fitted"] = Fitted(
                target=target,
                classes=self._classes(self.table),
                numbers=encoder.numbers,
                categories=encoder.categories,
            )
        return self.hparams["fitted"]

    def _read(self, columns: list[str]) -> Table:
        if self.path is not None:
            return Table.read(self.path, columns)
        from sklearn.datasets import load_breast_cancer  # a slow import that your own data does not need

        study = load_breast_cancer()
        rows = pl.from_numpy(study.data, BREAST_CANCER[:-1])
        rows = rows.with_columns(pl.Series(BREAST_CANCER[-1], study.target_names[study.target].tolist()))
        return Table(rows.select(columns), "the breast cancer study")

    def _classes(self, table: Table) -> list[str]:
        """Name the classes in the column of the target."""
        target = self.columns[1]
        names = sorted(set(table.texts(target)))
        if len(names) == 1:
            raise InputError(f"{table.origin}: column '{target}' holds one class only, '{names[0]}': there must be two")
        if 2 * len(names) > len(table):
            raise InputError(
                f"{table.origin}: column '{target}' holds {len(names)} different values in {len(table)} rows, "
                "which are no classes: name another with --data.target"
            )
        return names

    def _number(self, table: Table, classes: list[str]) -> Tensor:
        """Number every row's class, of shape (rows,)."""
        number = {name: number for number, name in enumerate(classes)}
        names = table.texts(self.columns[1])
        for row, name in enumerate(names, start=1):
            if name not in number:
                raise InputError(
                    f"{table.origin}: row {row} holds class '{name}', which was not there in training; "
                    f"there were: {', '.join(classes)}"
                )
        return torch.tensor([number[name] for name in names])

    def _encode(self, table: Table) -> tuple[Tensor, Tensor]:
        """Standardise the numbers, and number the categories."""
        encoder = Encoder(self.fitted["numbers"], self.fitted["categories"])
        return encoder.standardise(table), encoder.codes(table)

    def _load(self, split: str, shuffle: bool = False) -> DataLoader:
        rows = self.splits[split]
        return self._batches(*(values[rows] for values in self.x), self.y[rows], shuffle=shuffle)

    def _batches(self, *tensors: Tensor, shuffle: bool = False) -> DataLoader:
        # No worker processes: the rows are in memory already, and handing them over would cost more.
        return DataLoader(BatchedTensors(*tensors), batch_size=self.batch_size, shuffle=shuffle, collate_fn=whole_batch)
