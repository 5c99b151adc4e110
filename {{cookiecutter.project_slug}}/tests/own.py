"""A model and its data, written from scratch, that draw random numbers wherever they can."""

import os
import random
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn, optim
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    Sampler,
    WeightedRandomSampler,
    default_collate,
)
from torchmetrics import MeanAbsoluteError

ROWS, SIZE = 28, 4


class Noisy(Dataset[Any]):
    """Rows with noise from every global generator.

    Args:
        rows: Their number.
        noise: Its factor.
        deadly: The row whose loading kills the process, as the kernel does when memory is short.
    """

    def __init__(self, rows: int = ROWS, noise: float = 0.1, deadly: int = -1) -> None:
        self.noise = noise
        self.deadly = deadly
        self.x = torch.randn(rows, 6, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        if row == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        noise = torch.randn(6) + random.random() + float(np.random.standard_normal())
        return self.x[row] + self.noise * noise, self.x[row].sum(0, keepdim=True)


class Stream(IterableDataset[Any]):
    """The same rows, shuffled, without positions."""

    def __iter__(self) -> Iterator[Any]:
        data = Noisy()
        rows = list(range(ROWS))
        random.shuffle(rows)
        for row in rows:
            yield data[row]


class Lazy(Sampler[int]):
    """A sampler that draws each row when it is due."""

    def __len__(self) -> int:
        return ROWS

    def __iter__(self) -> Iterator[int]:
        for _ in range(ROWS):
            yield random.randrange(ROWS)


def mixup(rows: Any) -> Any:
    x, y = default_collate(rows)
    order, share = torch.randperm(len(x)), random.random()
    return share * x + (1 - share) * x[order], share * y + (1 - share) * y[order]


class OwnData(LightningDataModule):
    """Many kinds of loaders."""

    def __init__(self, kind: str = "shuffle", workers: int = 0) -> None:
        super().__init__()
        self.kind = kind
        self.workers = workers

    def train_dataloader(self) -> Any:
        if self.kind == "two":
            return {"a": self._loader(Noisy(), shuffle=True), "b": self._loader(Noisy(12), shuffle=True)}
        if self.kind == "stream":
            return self._loader(Stream())
        if self.kind == "batch_sampler":
            return self._loader(Noisy(), batch_size=1, batch_sampler=BatchSampler(Lazy(), SIZE, drop_last=True))
        if self.kind == "deadly":
            return self._loader(Noisy(deadly=17), shuffle=True)
        if self.kind == "sick":
            sick = Noisy()
            sick.x[17] = torch.nan
            return self._loader(sick, shuffle=True)
        settings: dict[str, dict[str, Any]] = {
            "shuffle": {"shuffle": True},
            "generator": {"shuffle": True, "generator": torch.Generator().manual_seed(5)},
            "weighted": {"sampler": WeightedRandomSampler([1.0 + row for row in range(ROWS)], ROWS)},
            "lazy": {"sampler": Lazy()},
            "mixup": {"shuffle": True, "collate_fn": mixup},
        }
        return self._loader(Noisy(), **settings[self.kind])

    def val_dataloader(self) -> Any:
        return self._loader(Noisy(8, noise=0.0))

    def _loader(self, dataset: Any, batch_size: int = SIZE, **settings: Any) -> DataLoader[Any]:
        persistent = self.workers > 0 and not isinstance(dataset, Stream)
        workers: dict[str, Any] = {"num_workers": self.workers, "persistent_workers": persistent}
        if self.workers:
            workers["multiprocessing_context"] = "fork"  # which imports nothing anew
        return DataLoader(dataset, batch_size=batch_size, **workers, **settings)


class OwnModel(LightningModule):
    """Dropout, batch norm, logging per epoch, and an average of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.error = MeanAbsoluteError()
        self.average: Tensor
        self.register_buffer("average", torch.zeros(8, 6))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if isinstance(batch, dict):
            batch = [torch.cat([batch["a"][part], batch["b"][part]]) for part in (0, 1)]
        x, y = batch
        prediction = self.network(x + 0.01 * torch.randn_like(x))
        loss = (prediction - y).pow(2).mean() * (1 + 0.01 * np.random.rand())
        self.error(prediction, y)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        self.log("train_error", self.error, on_step=False, on_epoch=True)
        return loss

    def on_train_batch_end(self, *args: Any) -> None:
        self.average.lerp_(next(self.network.parameters()).detach(), 0.1 + 0.1 * random.random())

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("val_loss", (self.network(x) - y).pow(2).mean())

    def configure_optimizers(self) -> Any:
        optimizer = optim.AdamW(self.parameters(), lr=0.01)
        schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.05, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
