"""What is exported of this project's own data: standardizing, one-hot encoding, and the targets' own units."""

from functools import cached_property

import torch
from torch import Tensor, nn

from ..engine.errors import InputError
from .table import ExportedTable, TableAdapter


class ExportedRegressor(ExportedTable):
    """Map raw numbers and codes of categories to the targets in their own units.

    Args:
        adapter: The trained model and its data.
    """

    def __init__(self, adapter: TableAdapter) -> None:
        super().__init__(adapter)
        data = adapter.datamodule
        self.known = [len(values) for values in adapter.encoder.categories.values()]
        self.mean = nn.Buffer(torch.tensor(data.target_mean))
        self.std = nn.Buffer(torch.tensor(data.target_std))
        self.log_target = data.log_target

    def outputs(self, *inputs: Tensor) -> dict[str, Tensor]:
        numbers, codes = self.encode(inputs)
        hot = [
            (codes[:, column, None] == torch.arange(1, known + 1)).float()  # no column for values unseen in training
            for column, known in enumerate(self.known)
        ]
        y = self.model.predict_step(torch.cat([numbers, *hot], dim=1), 0)
        if y.dim() != 2 or y.shape[1] != len(self.mean):
            raise InputError(f"predict_step returns shape {tuple(y.shape)}, not (rows, {len(self.mean)})")
        y = y.double() * self.std + self.mean
        return {"values": y.expm1() if self.log_target else y}


class LitAdapter(TableAdapter):
    """Export the model with the encoding of its table."""

    @cached_property
    def module(self) -> ExportedRegressor:
        return ExportedRegressor(self)

    @property
    def scales(self) -> dict[str, float]:
        return dict(zip(self.datamodule.targets, self.datamodule.target_std, strict=True))
