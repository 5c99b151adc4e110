"""What an expert would do about the speed of a loop over tensors in memory."""

from collections.abc import Iterator

import torch
from torch import Tensor


class SlicedBatches:
    """Batches that are sliced from one permutation of all rows, instead of collated row by row.

    Args:
        tensors: Of shape (rows, ...), on the device that trains.
        batch_size: Rows of a batch.
        shuffle: Whether the rows are in a new order every time.
    """

    def __init__(self, *tensors: Tensor, batch_size: int, shuffle: bool = False) -> None:
        self.tensors = tensors
        self.batch_size = batch_size
        self.shuffle = shuffle

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        tensors = self.tensors
        if self.shuffle:
            order = torch.randperm(len(tensors[0]), device=tensors[0].device)
            tensors = tuple(tensor[order] for tensor in tensors)
        yield from zip(*(tensor.split(self.batch_size) for tensor in tensors), strict=True)

    def __len__(self) -> int:
        return -(-len(self.tensors[0]) // self.batch_size)
