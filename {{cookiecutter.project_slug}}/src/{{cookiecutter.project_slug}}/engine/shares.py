"""Evaluation on several processes: every row once.

Lightning repeats rows until all processes have as many, so metrics count these rows twice. Without the repeats, one
process may have one batch more than the others and wait in it for them forever, since FSDP and models with buffers
communicate in every batch. Here all processes have the same number of batches, whose sizes differ by a row at most.
"""

import math
from collections.abc import Iterator
from typing import Any

from lightning.fabric.utilities.distributed import _DatasetSamplerWrapper
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.overrides.distributed import _IndexBatchSamplerWrapper
from torch.utils.data import BatchSampler, DataLoader, Sampler
from torch.utils.data.distributed import DistributedSampler

from .errors import InputError


class EvenShares(Callback):
    """Give every process its share of the rows to validate, test or predict."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.world_size == 1:
            return
        strategy: Any = trainer.strategy
        process = strategy.process_dataloader

        def share(loader: Any) -> Any:
            if not trainer.training and isinstance(loader, DataLoader):
                share_rows(loader)
            return process(loader)

        strategy.process_dataloader = share


def share_rows(loader: DataLoader) -> None:
    """Replace the batches of a dataloader into which Lightning has put its own sampler.

    Dataloaders that leave out an incomplete batch, or have a batch sampler of their own, stay as they are.

    Raises:
        InputError: If there are fewer rows than processes.
    """
    batches: Any = loader.batch_sampler
    indexed = isinstance(batches, _IndexBatchSamplerWrapper)  # which notes the rows of predictions
    inner = batches._batch_sampler if indexed else batches
    if type(inner) is not BatchSampler or inner.drop_last or not isinstance(inner.sampler, DistributedSampler):
        return
    shared = Share(inner.sampler, inner.batch_size)
    if indexed:
        batches._batch_sampler = shared
    else:
        vars(loader)["batch_sampler"] = shared  # a DataLoader refuses to have it set


class Share(Sampler[list[int]]):
    """The batches of one process, of consecutive rows.

    Args:
        sampler: Knows the dataset, the rank and the number of processes.
        batch_size: Rows in a batch; one more where that leaves no process without a batch.

    Raises:
        InputError: If there are fewer rows than processes.
    """

    def __init__(self, sampler: DistributedSampler, batch_size: int) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.rows = len(sampler.dataset)  # type: ignore[arg-type]
        processes = sampler.num_replicas
        if 0 < self.rows < processes:
            raise InputError(
                f"{self.rows} rows to evaluate on {processes} processes: use fewer processes, or more rows"
            )
        self.count = min(math.ceil(self.rows / (processes * batch_size)), self.rows // processes)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        dataset: Any = self.sampler.dataset
        wraps = isinstance(dataset, _DatasetSamplerWrapper)  # a sampler of the datamodule
        if wraps:
            dataset.reset()
        pieces = self.count * self.sampler.num_replicas
        first = self.sampler.rank * self.count
        for piece in range(first, first + self.count):
            rows = range(self.rows * piece // pieces, self.rows * (piece + 1) // pieces)
            yield [dataset[position] for position in rows] if wraps else list(rows)
