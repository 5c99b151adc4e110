"""Callbacks for overlays in configs/callbacks/, where Lightning has none or its own prints a warning."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ThroughputMonitor
from torch import Tensor

from .errors import InputError, listed


class Compile(Callback):
    """Compile the model's `forward` with `torch.compile`.

    Args:
        backend: Backend of `torch.compile`.

    Raises:
        InputError: If there is no such backend.
    """

    def __init__(self, backend: str = "inductor") -> None:
        if backend not in (known := torch.compiler.list_backends(exclude_tags=())):
            raise InputError(f"--trainer.callbacks.backend {backend}: no such backend; there are {listed(known)}")
        self.backend = backend

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        pl_module.compile(backend=self.backend)


class Throughput(ThroughputMonitor):
    """Log batches, samples and items (such as tokens) per second, counted in the first tensor of a batch."""

    def __init__(self) -> None:
        super().__init__(batch_size_fn=_samples, length_fn=_items, window_size=10)
        self._module_has_flops = False  # without it, Lightning warns that `flops_per_batch` is missing


def _samples(batch: Any) -> int:
    return len(_input(batch))


def _items(batch: Any) -> int:
    return int(_input(batch).shape[:2].numel())  # of text: sequences times tokens


def _input(batch: Any) -> Tensor:
    """Return the first tensor of a batch."""
    if isinstance(batch, Tensor):
        return batch
    return _input(next(iter(batch.values())) if isinstance(batch, dict) else batch[0])
