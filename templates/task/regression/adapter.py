"""What is exported of this project's own data: standardizing, one-hot encoding, and the targets' own units."""

from functools import cached_property

import torch
from torch import Tensor, nn

from ..engine.errors import InputError
from .table import TableAdapter, TableInputs, codes_of, numbers_of


class Exported(nn.Module):
    """Map raw numbers and codes of categories to the targets in their own units.

    Args:
        adapter: The trained model and its data.
    """

    def __init__(self, adapter: TableAdapter) -> None:
        super().__init__()
        data = adapter.datamodule
        self.model = adapter.model
        self.names = list(adapter.inputs)
        self.inputs = TableInputs(adapter.encoder)
        self.known = [len(values) for values in adapter.encoder.categories.values()]
        self.mean = nn.Buffer(torch.tensor(data.target_mean))
        self.std = nn.Buffer(torch.tensor(data.target_std))
        self.log_target = data.log_target

    def forward(self, *raw: Tensor) -> Tensor:
        inputs = dict(zip(self.names, raw, strict=True))
        codes = codes_of(inputs)
        hot = [
            (codes[:, column, None] == torch.arange(1, known + 1)).float()  # no column for values unseen in training
            for column, known in enumerate(self.known)
        ]
        y = self.model.predict_step(torch.cat([self.inputs(numbers_of(inputs)), *hot], dim=1), 0)
        if y.dim() != 2 or y.shape[1] != len(self.mean):
            raise InputError(f"predict_step returns shape {tuple(y.shape)}, not (rows, {len(self.mean)})")
        y = y.double() * self.std + self.mean
        return y.expm1() if self.log_target else y


class LitAdapter(TableAdapter):
    """Export the model with the encoding of its table."""

    @cached_property
    def module(self) -> nn.Module:
        return Exported(self)

    @cached_property
    def output_names(self) -> list[str]:
        return ["values"]

    @property
    def scales(self) -> dict[str, float]:
        return dict(zip(self.datamodule.targets, self.datamodule.target_std, strict=True))
