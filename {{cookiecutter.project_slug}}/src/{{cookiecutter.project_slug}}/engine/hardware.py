"""What pays on an NVIDIA or AMD GPU, and nowhere else."""

from typing import Any, Literal

import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

MatmulPrecision = Literal["highest", "high", "medium"]


def set_matmul_precision(trainer: Trainer, precision: MatmulPrecision) -> None:
    """Let float32 matrix products round their factors: "high" to TensorFloat32, several times as fast."""
    if _trains_on_gpu(trainer):
        torch.set_float32_matmul_precision(precision)


def pin_batches(trainer: Trainer, loader: Any) -> None:
    """Let worker processes hand over batches in pinned memory, from which Lightning copies them while the GPU computes.

    Rows in memory are sliced by the main process, for which it is one more copy.
    """
    if _trains_on_gpu(trainer) and isinstance(loader, DataLoader) and loader.num_workers > 0:
        loader.pin_memory = True


def _trains_on_gpu(trainer: Trainer) -> bool:
    return trainer.strategy.root_device.type == "cuda"  # ROCm's name, too
