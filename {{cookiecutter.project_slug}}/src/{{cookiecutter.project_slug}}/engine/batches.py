"""Batches cut from tensors in memory, each in one slice.

The default DataLoader collects rows one by one and stacks them again, which costs more than a small
model's step.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset


class BatchedTensors(Dataset[tuple[Tensor, ...]]):
    """Tensors of the same length, indexed by a whole batch of row numbers.

    Goes with `collate_fn=whole_batch`, and with every sampler that Lightning may put in.
    """

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        """Return a batch; the DataLoader calls this instead of `__getitem__` where it exists."""
        rows = list(indices)
        return tuple(tensor[rows] for tensor in self.tensors)


def whole_batch(batch: Any) -> Any:
    """Pass a batch on as it is: there is nothing left to collate."""
    return batch
