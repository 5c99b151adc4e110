"""What is exported of this project's own data: normalizing, and the probability of every class."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engine.predictions import to_columns
from .plain import Exported, PlainAdapter, Sample, class_outputs, spaced

PIECE = 256  # images that are compared at a time


class ExportedImages(Exported):
    """Map images as bytes to the probability of every class, or to what another model returns.

    Args:
        adapter: The trained model and its data.
    """

    def __init__(self, adapter: PlainAdapter) -> None:
        super().__init__(adapter.model)
        self.normalize = adapter.datamodule.normalize
        self.classes = adapter.datamodule.num_classes

    def outputs(self, *inputs: Tensor) -> dict[str, Tensor]:
        [images] = inputs
        return class_outputs(self.model.predict_step(self.normalize(images), 0), self.classes)


class LitAdapter(PlainAdapter):
    """Export the model with the normalization of its images."""

    kind = "image"

    @cached_property
    def module(self) -> ExportedImages:
        return ExportedImages(self)

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        size = self.datamodule.fitted["image_size"]
        return {"images": torch.zeros(2, self.datamodule.in_channels, size, size, dtype=torch.uint8)}

    @property
    def about(self) -> dict[str, Any]:
        data = self.datamodule
        return {
            "targets": ["class"],
            "classes": data.fitted["classes"],
            "image": {"size": data.fitted["image_size"], "channels": data.in_channels},
        }

    def samples(self, most: int) -> Iterator[Sample]:
        data = self.datamodule
        data.setup("validate")
        rows = data.splits["val"]
        for piece in rows[spaced(len(rows), most)].split(PIECE):
            sources = [data.found[data.names[row]] for row in piece.tolist()]
            images = data.normalize(torch.stack([data.read(source) for source in sources]))
            with torch.inference_mode():
                prediction = self.model.predict_step(images, 0)
            columns = to_columns(data, prediction, piece.tolist())
            raw = [source if isinstance(source, Path) else np.asarray(source) for source in sources]
            columns["file"] = [str(source) for source in raw if isinstance(source, Path)]
            yield Sample(raw, columns if columns["file"] else {k: v for k, v in columns.items() if k != "file"})
