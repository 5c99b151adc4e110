"""What is exported of this project's own data: standardizing, and the probability of every class."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from .plain import class_outputs
from .table import TableAdapter, TableInputs, codes_of, numbers_of


class Exported(nn.Module):
    """Map raw numbers and codes of categories to the probability of every class.

    Args:
        adapter: The trained model and its data.
    """

    def __init__(self, adapter: TableAdapter) -> None:
        super().__init__()
        self.model = adapter.model
        self.names = list(adapter.inputs)
        self.inputs = TableInputs(adapter.encoder)
        self.classes = adapter.datamodule.num_classes

    def forward(self, *raw: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.outputs(*raw).values())

    def outputs(self, *raw: Tensor) -> dict[str, Tensor]:
        """Name the outputs: probabilities, or whatever another model returns."""
        inputs = dict(zip(self.names, raw, strict=True))
        batch = (self.inputs(numbers_of(inputs)), codes_of(inputs))
        return class_outputs(self.model.predict_step(batch, 0), self.classes)


class LitAdapter(TableAdapter):
    """Export the model with the encoding of its table."""

    @cached_property
    def module(self) -> Exported:
        return Exported(self)

    @cached_property
    def output_names(self) -> list[str]:
        with torch.inference_mode():
            return list(self.module.outputs(*self.inputs.values()))

    @property
    def about(self) -> dict[str, Any]:
        return super().about | {"classes": self.datamodule.fitted["classes"]}
