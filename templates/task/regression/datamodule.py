"""The data: read a table, split it, standardise it, hand it out in batches.

Without a path it is scikit-learn's diabetes study: 442 patients, 10 measurements each, and how far
the disease had progressed a year later. Your own table is a matter of configuration:

    --data.path my.csv --data.target price
"""

from functools import cached_property
from typing import Any, TypedDict

import polars as pl
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.nn.functional import one_hot
from torch.utils.data import DataLoader

from .engine.batches import BatchedTensors, whole_batch
from .engine.errors import InputError, require_positive
from .engine.split import deal
from .engine.table import Encoder, Table, column_names

DIABETES = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6", "progression"]


class Fitted(TypedDict):
    """What was measured on the training rows, in plain values: a checkpoint loads with `weights_only=True`."""

    target: str  # declared, or the command line would take a column "1" of a checkpoint for a number
    target_mean: float
    target_std: float
    numbers: dict[str, list[float]]
    categories: dict[str, list[str]]


class LitDataModule(LightningDataModule):
    """A table in which some columns, of numbers or of categories, predict another.

    Args:
        path: CSV or Parquet file; without one, the diabetes study.
        target: Column to predict.
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
    shapes = ("in_features", "target_std")

    def __init__(
        self,
        path: str | None = None,
        target: str | None = None,
        features: list[str] | None = None,
        categorical: list[str] | None = None,
        batch_size: int = 10,
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
        """Width of a row: one for every number, one for every category that a column may hold."""
        return len(self.fitted["numbers"]) + sum(len(values) for values in self.fitted["categories"].values())

    @property
    def target_std(self) -> float:
        """Standard deviation of the target in the training rows, in its own unit."""
        return self.fitted["target_std"]

    def setup(self, stage: str) -> None:
        """Read, split and encode."""
        if stage == "predict":
            self.x = self._encode(self._read(self.columns[0]))
            return
        self.x = self._encode(self.table)
        y = self.table.numbers(self.fitted["target"])[:, None]
        self.y = ((y - self.fitted["target_mean"]) / self.target_std).float()

    def train_dataloader(self) -> DataLoader:
        return self._load("train", shuffle=self.shuffle)

    def val_dataloader(self) -> DataLoader:
        return self._load("val")

    def test_dataloader(self) -> DataLoader:
        return self._load("test")

    def predict_dataloader(self) -> DataLoader:
        """All rows of the file in its own order, without the target."""
        return self._batches(self.x)

    def decode(self, prediction: Tensor) -> dict[str, list[Any]]:
        """Turn the model's output (n, 1) into the predicted column, in the target's own unit."""
        values = prediction.float().flatten() * self.target_std + self.fitted["target_mean"]
        return {self.fitted["target"]: values.tolist()}

    @cached_property
    def columns(self) -> tuple[list[str], str]:
        """Names of the features and of the target."""
        if known := self.hparams["fitted"]:
            return [*known["numbers"], *known["categories"]], known["target"]
        target = self.target or (DIABETES[-1] if self.path is None else None)
        present = DIABETES if self.path is None else column_names(self.path)
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
        """Row numbers of the three splits, dealt out at random but always alike."""
        one_group = torch.zeros(len(self.table))
        splits = deal(one_group, self.val_fraction, self.test_fraction, self.split_seed)
        for name, rows in splits.items():
            if len(rows) < 2:  # a single row has no spread, and so no R2
                raise InputError(
                    f"{self.table.origin}: {len(self.table)} rows leave {len(rows)} for the {name} split: add rows"
                )
        return splits

    @cached_property
    def fitted(self) -> Fitted:
        """What was measured on the training rows; every checkpoint holds it."""
        if self.hparams["fitted"] is None:
            (features, target), train = self.columns, self.splits["train"]
            encoder = Encoder.measure(self.table, features, self.categorical, train)
            y = self.table.numbers(target)[train]
            self.hparams["fitted"] = Fitted(
                target=target,
                target_mean=y.mean().item(),
                target_std=y.std(correction=0).item() or 1.0,
                numbers=encoder.numbers,
                categories=encoder.categories,
            )
        return self.hparams["fitted"]

    def _read(self, columns: list[str]) -> Table:
        if self.path is not None:
            return Table.read(self.path, columns)
        from sklearn.datasets import load_diabetes  # a slow import that your own data does not need

        x, y = load_diabetes(return_X_y=True, scaled=False)
        rows = pl.from_numpy(x, DIABETES[:-1]).with_columns(pl.Series(DIABETES[-1], y))
        return Table(rows.select(columns), "the diabetes study")

    def _encode(self, table: Table) -> Tensor:
        """Standardise the numbers, and give every category a column that is 1 where it holds."""
        encoder = Encoder(self.fitted["numbers"], self.fitted["categories"])
        hot = [
            one_hot(codes, len(values) + 1)[:, 1:]  # without a column for what was never seen in training
            for codes, values in zip(encoder.codes(table).T, encoder.categories.values(), strict=True)
        ]
        return torch.cat([encoder.standardise(table), *hot], dim=1).float()

    def _load(self, split: str, shuffle: bool = False) -> DataLoader:
        rows = self.splits[split]
        return self._batches(self.x[rows], self.y[rows], shuffle=shuffle)

    def _batches(self, *tensors: Tensor, shuffle: bool = False) -> DataLoader:
        # No worker processes: the rows are in memory already, and handing them over would cost more.
        return DataLoader(BatchedTensors(*tensors), batch_size=self.batch_size, shuffle=shuffle, collate_fn=whole_batch)
