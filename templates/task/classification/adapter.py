"""What is exported of this project's own data: standardizing, and the probability of every class."""

from functools import cached_property
from typing import Any

from torch import Tensor

from .plain import class_outputs
from .table import ExportedTable, TableAdapter


class ExportedClassifier(ExportedTable):
    """Map raw numbers and codes of categories to the probability of every class, or to what another model returns.

    Args:
        adapter: The trained model and its data.
    """

    def __init__(self, adapter: TableAdapter) -> None:
        super().__init__(adapter)
        self.classes = adapter.datamodule.num_classes

    def outputs(self, *inputs: Tensor) -> dict[str, Tensor]:
        return class_outputs(self.model.predict_step(self.encode(inputs), 0), self.classes)


class LitAdapter(TableAdapter):
    """Export the model with the encoding of its table."""

    @cached_property
    def module(self) -> ExportedClassifier:
        return ExportedClassifier(self)

    @property
    def about(self) -> dict[str, Any]:
        return super().about | {"classes": self.datamodule.fitted["classes"]}
