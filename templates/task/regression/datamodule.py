"""The data: rows of a table as numbers, and a number to predict.

By default it is scikit-learn's diabetes study: 442 patients, 10 measurements each, and the progression of the disease
after a year. Your own table is a config change:

    --data.path my.csv --data.target price
"""

import re
from collections.abc import Sequence
from typing import Any

import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from .data.encoder import mean_and_std
from .data.split import require_rows
from .data.table import Table
from .data.tabular import TabularDataModule
from .engine.errors import InputError


class LitDataModule(TabularDataModule):
    """Standardized numbers, one-hot encoded categories and standardized targets.

    Args:
        log_target: Whether to learn log(1 + target), for skewed targets; predictions and errors stay in its own unit.
        kwargs: See TabularDataModule.
    """

    DATASET = "the diabetes study"
    COLUMNS = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6", "progression")
    MODEL_SETTINGS = (*TabularDataModule.MODEL_SETTINGS, "log_target")

    def __init__(self, log_target: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.log_target = log_target

    @property
    def in_features(self) -> int:
        """Inputs per row: one per number, several per date, and one per category of every column of categories."""
        return len(self.encoder.inputs) + sum(map(len, self.encoder.categories.values()))

    @property
    def target_names(self) -> list[str]:
        """Names of the targets, fit for names of metrics."""
        return [re.sub(r"\W+", "_", name) for name in self.fitted["targets"]]

    @property
    def target_mean(self) -> list[float]:
        """Mean of each target in the training rows, in its own unit; of its logarithm under `log_target`."""
        return list(self.fitted["target_mean"])

    @property
    def target_std(self) -> list[float]:
        """Standard deviation of each target in the training rows, likewise."""
        return list(self.fitted["target_std"])

    def load_dataset(self) -> pl.DataFrame:
        from sklearn.datasets import load_diabetes  # a slow import, only for the default dataset

        x, y = load_diabetes(return_X_y=True, scaled=False)
        *features, target = self.COLUMNS
        return pl.from_numpy(x, features).with_columns(pl.Series(target, y))

    def fit_target(self) -> dict[str, Any]:
        require_rows(self.splits, self.table.origin, least=2)  # a single row has no spread, and so no R2
        y = self._targets(self.table, self.splits["train"])
        means, stds = zip(*(mean_and_std(column) for column in y.T), strict=True)
        return {"target_mean": list(means), "target_std": list(stds)}

    def encode(self, table: Table) -> tuple[Tensor]:
        """Turn rows into float32 of shape (rows, in_features)."""
        encoder = self.encoder
        hot = [
            one_hot(codes, len(values) + 1)[:, 1:].float()  # no column for values unseen in training
            for codes, values in zip(encoder.codes(table).T, encoder.categories.values(), strict=True)
        ]
        return (torch.cat([encoder.standardized(table), *hot], dim=1),)

    def encode_target(self, table: Table) -> Tensor:
        """Standardize the targets, float32 of shape (rows, targets)."""
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (self.target_mean, self.target_std))
        return ((self._targets(table) - mean) / std).float()

    def decode(self, prediction: Tensor, rows: Sequence[int] = ()) -> dict[str, list[Any]]:
        """Turn predictions (n, targets) into the targets' own units."""
        values = torch.tensor(prediction.tolist(), dtype=torch.float64)  # which not every accelerator has
        values = values * torch.tensor(self.target_std) + torch.tensor(self.target_mean)
        values = values.expm1() if self.log_target else values
        return dict(zip(self.fitted["targets"], values.T.tolist(), strict=True))

    def _targets(self, table: Table, rows: Tensor | None = None) -> Tensor:
        """Return the targets of all or some rows as float64 of shape (rows, targets)."""
        columns = []
        for name in self.targets:
            where = f"{table.origin}: column '{name}'"
            if table.kind(name) not in ("number", "boolean"):
                held = next(iter(table.column(name).drop_nulls()), "nothing")
                raise InputError(f"{where} must hold numbers to be predicted, but holds '{held}'")
            values = table.numbers(name, rows)
            if self.log_target and values.min() < 0:
                raise InputError(f"{where} holds {values.min():g}; --data.log_target needs 0 or more")
            columns.append(values.log1p() if self.log_target else values)
        return torch.stack(columns, dim=1)
