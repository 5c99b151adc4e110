"""The data: read a table, split it, standardise it, hand it out in batches.

Without a path it is scikit-learn's diabetes study: 442 patients, 10 measurements each, and how far
the disease had progressed a year later. Your own table is a matter of configuration:

    --data.path my.csv --data.target price
"""

from typing import Any, NamedTuple, Self

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from .engine.batches import BatchedTensors, whole_batch
from .engine.errors import InputError
from .engine.table import column_names, read_columns

DIABETES = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6", "progression"]


class Scale(NamedTuple):
    """Mean and standard deviation of every column, each of shape (columns,)."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Self:
        """Measure rows (n, columns)."""
        std = rows.std(dim=0, correction=0)
        return cls(rows.mean(dim=0), torch.where(std > 0, std, 1.0))  # a constant column stays finite

    def standardise(self, rows: Tensor) -> Tensor:
        """Give every column mean 0 and standard deviation 1."""
        return (rows - self.mean) / self.std

    def restore(self, rows: Tensor) -> Tensor:
        """Undo `standardise`."""
        return rows * self.std.type_as(rows) + self.mean.type_as(rows)


class LitDataModule(LightningDataModule):
    """A table of numbers, in which some columns predict another.

    Args:
        path: CSV or Parquet file; without one, the diabetes study.
        target: Column to predict.
        features: Columns to predict it from; by default all the others.
        batch_size: Rows per step.
        shuffle: Whether each epoch sees the training rows in a new order.
        val_fraction: Share of the rows kept for validation.
        test_fraction: Share of the rows kept for the test.
        split_seed: The same seed always gives the same split.

    Raises:
        InputError: If the file, a column or a value in it cannot be used.
    """

    def __init__(
        self,
        path: str | None = None,
        target: str | None = None,
        features: list[str] | None = None,
        batch_size: int = 10,
        shuffle: bool = True,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.path = path
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.target, self.features = self._choose_columns(target, features)
        # In the checkpoint, so that new data may order its columns otherwise and lack the target.
        self.hparams.update(target=self.target, features=self.features)
        self.x_scale: Scale | None = None
        self.y_scale: Scale | None = None

    @property
    def in_features(self) -> int:
        """Width of a row; the model's first layer follows it."""
        return len(self.features)

    def setup(self, stage: str) -> None:
        """Read and split; measure the scales on the training rows alone."""
        if stage == "predict":
            self.x = self._read(self.features)
            return
        self.x, self.y = self._read([*self.features, self.target]).split([self.in_features, 1], dim=1)
        self.splits = self._split(len(self.x))
        if self.x_scale is None:
            train = self.splits["train"]
            self.x_scale, self.y_scale = Scale.of(self.x[train]), Scale.of(self.y[train])

    def train_dataloader(self) -> DataLoader:
        return self._load("train", shuffle=self.shuffle)

    def val_dataloader(self) -> DataLoader:
        return self._load("val")

    def test_dataloader(self) -> DataLoader:
        return self._load("test")

    def predict_dataloader(self) -> DataLoader:
        """All rows of the file in its own order, without the target."""
        if self.x_scale is None:
            raise InputError("predictions need the scales of a trained model: load a checkpoint first")
        return self._batches(self.x_scale.standardise(self.x))

    def decode(self, prediction: Tensor) -> dict[str, list[float]]:
        """Turn the model's output (n, 1) into the predicted column, in the target's own unit."""
        assert self.y_scale is not None, "decode() comes after predict_dataloader()"
        return {self.target: self.y_scale.restore(prediction.float()).flatten().tolist()}

    def state_dict(self) -> dict[str, Any]:
        """Put the scales into the checkpoint: new data is measured as the training data was."""
        scales = {"x_scale": self.x_scale, "y_scale": self.y_scale}
        return {name: list(scale) for name, scale in scales.items() if scale is not None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.x_scale, self.y_scale = Scale(*state_dict["x_scale"]), Scale(*state_dict["y_scale"])

    def _choose_columns(self, target: str | None, features: list[str] | None) -> tuple[str, list[str]]:
        if self.path is None:
            columns, target = DIABETES, target or DIABETES[-1]
        else:
            columns = column_names(self.path)
        if target is None:
            raise InputError(f"name the column to predict with --data.target; {self.path} has: {', '.join(columns)}")
        features = features or [name for name in columns if name != target]
        if not features:
            raise InputError(f"{self.path} has no column besides the target '{target}'")
        return target, features

    def _read(self, columns: list[str]) -> Tensor:
        if self.path is not None:
            return read_columns(self.path, columns)
        from sklearn.datasets import load_diabetes  # a slow import that your own data does not need

        x, y = load_diabetes(return_X_y=True, scaled=False)
        rows = torch.column_stack([torch.from_numpy(x), torch.from_numpy(y)]).float()
        return rows[:, [DIABETES.index(name) for name in columns]]

    def _split(self, n: int) -> dict[str, Tensor]:
        """Deal n row numbers out to the three splits, at random but always alike."""
        sizes = {"val": int(n * self.val_fraction), "test": int(n * self.test_fraction)}
        sizes["train"] = n - sum(sizes.values())
        for name, size in sizes.items():
            if size < 1:
                raise InputError(f"{self.path}: {n} rows leave none for the {name} split: add rows or change fractions")
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.split_seed))
        return dict(zip(sizes, order.split(list(sizes.values())), strict=True))

    def _load(self, split: str, shuffle: bool = False) -> DataLoader:
        assert self.x_scale, "setup() comes first"
        assert self.y_scale
        rows = self.splits[split]
        x, y = self.x_scale.standardise(self.x[rows]), self.y_scale.standardise(self.y[rows])
        return self._batches(x, y, shuffle=shuffle)

    def _batches(self, *tensors: Tensor, shuffle: bool = False) -> DataLoader:
        # No worker processes: the rows are in memory already, and handing them over would cost more.
        return DataLoader(BatchedTensors(*tensors), batch_size=self.batch_size, shuffle=shuffle, collate_fn=whole_batch)
