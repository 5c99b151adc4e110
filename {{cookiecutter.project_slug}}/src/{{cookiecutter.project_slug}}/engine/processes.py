"""What processes of a run tell each other, on any strategy."""

import io
import os
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from .errors import InputError


def gather(trainer: Trainer, value: Any) -> list[Any]:
    """Return the value of every process, by rank. All processes must call it.

    Args:
        trainer: Its strategy connects the processes.
        value: A plain value, or tensors in lists and dicts.
    """
    if trainer.world_size == 1:
        return [value]
    if torch.distributed.is_initialized():
        values: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(values, value)
        return values
    # XLA has no process group: send bytes as tensors of one length.
    buffer = io.BytesIO()
    torch.save(value, buffer)
    device = trainer.strategy.root_device
    content = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8).to(device)
    sizes = gather_tensor(trainer, torch.tensor([len(content)], device=device)).flatten().tolist()
    padded = torch.zeros(max(sizes), dtype=torch.uint8, device=device)
    padded[: len(content)] = content
    rows = zip(gather_tensor(trainer, padded).cpu().numpy(), sizes, strict=True)
    return [torch.load(io.BytesIO(row[:size].tobytes()), weights_only=True) for row, size in rows]


def gather_tensor(trainer: Trainer, value: Tensor) -> Tensor:
    """Return the tensors of all processes, stacked by rank. All processes must call it.

    Args:
        trainer: Its strategy connects the processes.
        value: On the strategy's device, of one shape in all processes.
    """
    if torch.distributed.is_initialized():
        values = [torch.empty_like(value) for _ in range(trainer.world_size)]
        torch.distributed.all_gather(values, value)
        return torch.stack(values)
    return trainer.strategy.all_gather(value).reshape(trainer.world_size, *value.shape)


def largest(trainer: Trainer, *numbers: float) -> list[float]:
    """Return the largest value among all processes of each number. All processes must call it."""
    own = torch.tensor(numbers, dtype=torch.float32, device=trainer.strategy.root_device)
    values: list[float] = gather_tensor(trainer, own).amax(dim=0).tolist()
    return values


def require_same_checkpoint(trainer: Trainer, path: str | None) -> None:
    """Check that all processes resume from the same checkpoint, or none does.

    Args:
        trainer: Its strategy connects the processes.
        path: The checkpoint that this process found.

    Raises:
        InputError: If the machines do not see the same files.
    """
    found = gather(trainer, f"a checkpoint of {os.path.getsize(path)} bytes" if path else "no checkpoint")
    if len(set(found)) > 1:
        places = " and ".join(dict.fromkeys(found))
        raise InputError(f"the processes resume from {places}: keep the runs in a folder that all machines share")
