"""What is exported of a model and a dataset that this package knows nothing of: `forward`, from tensors to tensors."""

import inspect
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..engine.checkpoints import Run
from ..engine.contract import DecodesPredictions
from ..engine.errors import InputError, listed
from .predict import Predictor, plain_columns

Columns = dict[str, list[Any]]


class Mismatch(Exception):
    """The exported model predicts something else; the message says what and where."""


class Sample(NamedTuple):
    """Rows of the validation data, and what PyTorch predicts for them.

    Attributes:
        rows: As `PlainAdapter.predict` takes them.
        expected: Columns by name, of numbers or arrays, or of texts.
    """

    rows: list[Any]
    expected: Columns


class Exported(nn.Module):
    """What is exported: a model from tensors to a tuple of tensors, whose names are those of `outputs`.

    Args:
        model: The trained model.
    """

    def __init__(self, model: LightningModule) -> None:
        super().__init__()
        self.model = model

    def outputs(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name; here they are what `forward` of the model returns."""
        return named_tensors(self.model(*inputs))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.outputs(*inputs).values())


class PlainAdapter:
    """Export `forward` with tensors as inputs, and numbers as outputs.

    Args:
        run: The trained model and its data.
    """

    kind = "arrays"

    def __init__(self, run: Run) -> None:
        self.run = run
        self.model: LightningModule = run.model
        self.datamodule = run.datamodule

    @cached_property
    def module(self) -> Exported:
        """What is exported; it takes `inputs` in their order."""
        return Exported(self.model)

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        """Two or more rows of every input, by name."""
        batch = next(self._batches(), None)
        if batch is None:
            raise InputError("the data to check the export by hold no batch")
        if len(next(iter(batch.values()))) < 2:
            batch = {name: tensor.repeat(2, *[1] * (tensor.dim() - 1)) for name, tensor in batch.items()}
        return batch

    @property
    def varying(self) -> dict[str, dict[int, tuple[str, int]]]:
        """Sizes that vary beside the batch, by input and dimension: their name, and the largest."""
        return {}

    @property
    def about(self) -> dict[str, Any]:
        """What model.json says beside names and shapes."""
        return {"example": {name: tensor[0].tolist() for name, tensor in self.inputs.items()}}

    @property
    def scales(self) -> dict[str, float]:
        """Sizes of a typical difference, by column, where it is not 1."""
        return {}

    @property
    def note(self) -> str | None:
        """What a user should know about the export, in a line."""
        if self.kind == "arrays" and isinstance(self.datamodule, DecodesPredictions):
            return "the datamodule's decode is not exported: predictions are plain numbers"
        return None

    def samples(self, most: int) -> Iterator[Sample]:
        """Yield rows of the validation data, some at a time.

        Args:
            most: Number of rows at most.
        """
        for batch in self._batches():
            if most <= 0:
                return
            inputs = {name: tensor[:most] for name, tensor in batch.items()}
            columns = list(inputs.values())
            most -= len(columns[0])
            with torch.inference_mode():
                outputs = self.module.outputs(*columns)
            rows = [dict(zip(inputs, row, strict=True)) for row in zip(*(c.numpy() for c in columns), strict=True)]
            yield Sample(rows, plain_columns({name: output.float().numpy() for name, output in outputs.items()}))

    def predict(self, predictor: Predictor, rows: Sequence[Any], batch_size: int) -> Columns:
        """Predict for rows of a sample with the exported model."""
        return predictor.predict(rows, batch_size=batch_size)

    def check(self, predictor: Predictor) -> None:
        """Check what `samples` does not cover.

        Raises:
            Mismatch: If the exported model differs.
        """

    @cached_property
    def _parameters(self) -> list[str]:
        """Names of the tensors that `forward` takes."""
        parameters = inspect.signature(self.model.forward).parameters.values()
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        names = [each.name for each in parameters if each.kind in kinds and each.default is inspect.Parameter.empty]
        if not names:
            raise InputError(
                f"{type(self.model).__name__} cannot be exported: its forward must take the tensors of a batch as "
                "arguments, such as forward(self, x)"
            )
        return names

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """Yield the inputs of every batch of the validation data, or else of those to predict."""
        names, kind = self._parameters, type(self.model).__name__
        for batch in self._loader():
            if isinstance(batch, dict) and set(names) <= batch.keys():
                found = [batch[name] for name in names]
            else:
                leaves = batch if isinstance(batch, (list, tuple)) else [batch]
                found = list(islice(leaves, len(names)))
            if len(found) < len(names) or not all(isinstance(each, Tensor) for each in found):
                raise InputError(
                    f"{kind} cannot be exported: forward takes {listed(names)}, but a batch of the validation data "
                    "does not begin with that many tensors"
                )
            yield dict(zip(names, found, strict=True))

    def _loader(self) -> Any:
        """Return the first loader of the validation data, or else of those to predict."""
        if self.datamodule is None:
            raise InputError("the model was trained without a datamodule, so there are no data to check the export by")
        self.datamodule.prepare_data()
        for stage, name in (("validate", "val_dataloader"), ("predict", "predict_dataloader")):
            if is_overridden(name, self.datamodule):
                self.datamodule.setup(stage)
                loader = getattr(self.datamodule, name)()
                if isinstance(loader, (list, tuple)) and isinstance(next(iter(loader), None), DataLoader):
                    return loader[0]  # of several
                if loader is not None and loader != []:  # as is returned where there are none
                    return loader
        raise InputError("the datamodule has neither validation data nor data to predict, to check the export by")


def spaced(count: int, most: int) -> Tensor:
    """Return row numbers from 0 to `count` - 1: all of them, or `most` that are evenly spaced."""
    return torch.linspace(0, count - 1, min(most, count), dtype=torch.float64).round().long()


def named_tensors(outputs: Any, name: str = "prediction") -> dict[str, Tensor]:
    """Name the tensors in what a model returns, as predictions.csv names its columns.

    Raises:
        InputError: If it holds anything but tensors.
    """
    if isinstance(outputs, Tensor):
        return {name: outputs}
    if isinstance(outputs, dict):
        parts = [named_tensors(value, str(key)) for key, value in outputs.items()]
    elif isinstance(outputs, (tuple, list)) and outputs:
        parts = [named_tensors(value, f"{name}_{number}") for number, value in enumerate(outputs)]
    else:
        raise InputError(f"the model cannot be exported: it returns a {type(outputs).__name__}, not tensors")
    return {key: tensor for part in parts for key, tensor in part.items()}


def class_outputs(prediction: Any, classes: int) -> dict[str, Tensor]:
    """Turn logits (batch, classes) into probabilities; what another model returns stays as it is.

    Args:
        prediction: What `predict_step` returned.
        classes: Number of classes.
    """
    if isinstance(prediction, Tensor) and prediction.shape[1:] == (classes,):
        return {"probabilities": prediction.float().softmax(dim=1)}
    return named_tensors(prediction)
