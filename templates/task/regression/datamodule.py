"""The data: rows of a table as numbers, and a number to predict.

By default it is scikit-learn's diabetes study: 442 patients, 10 measurements each, and the progression of the disease
after a year. Your own table is a config change:

    --data.path my.csv --data.target price
"""

from collections.abc import Sequence
from typing import Any

import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from .data.columns import mean_and_std
from .data.split import require_rows
from .data.table import Table
from .data.tabular import TabularDataModule


class LitDataModule(TabularDataModule):
    """Standardized numbers, one-hot encoded categories and a standardized target."""

    DATASET = "the diabetes study"
    COLUMNS = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6", "progression")

    @property
    def in_features(self) -> int:
        """Inputs per row: one per number, and one per category of every column of categories."""
        return len(self.fitted["numbers"]) + sum(map(len, self.fitted["categories"].values()))

    @property
    def target_std(self) -> float:
        """Standard deviation of the target in the training rows, in its own unit."""
        return self.fitted["target_std"]

    def load_dataset(self, columns: list[str]) -> Table:
        from sklearn.datasets import load_diabetes  # a slow import, only for the default dataset

        x, y = load_diabetes(return_X_y=True, scaled=False)
        *features, target = self.COLUMNS
        frame = pl.from_numpy(x, features).with_columns(pl.Series(target, y))
        return Table(frame.select(columns), self.DATASET)

    def fit_target(self) -> dict[str, Any]:
        require_rows(self.splits, self.table.origin, least=2)  # a single row has no spread, and so no R2
        mean, std = mean_and_std(self.table.numbers(self.columns[1])[self.splits["train"]])
        return {"target_mean": mean, "target_std": std}

    def encode(self, table: Table) -> tuple[Tensor]:
        """Turn rows into float32 of shape (rows, in_features)."""
        hot = [
            one_hot(codes, len(values) + 1)[:, 1:]  # no column for values unseen in training
            for codes, values in zip(self.encoder.codes(table).T, self.encoder.categories.values(), strict=True)
        ]
        return (torch.cat([self.encoder.standardized(table), *hot], dim=1).float(),)

    def encode_target(self, table: Table) -> Tensor:
        """Standardize the target, float32 of shape (rows, 1)."""
        y = table.numbers(self.fitted["target"])[:, None]
        return ((y - self.fitted["target_mean"]) / self.target_std).float()

    def decode(self, prediction: Tensor, rows: Sequence[int] = ()) -> dict[str, list[Any]]:
        """Turn predictions (n, 1) into the target's own unit."""
        values = prediction.float().flatten() * self.target_std + self.fitted["target_mean"]
        return {self.fitted["target"]: values.tolist()}
