"""Sick runs: stop where the loss or a parameter is no longer finite, and report spikes of the loss."""

import math
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from .errors import InputError, listed
from .replay import Replay

LOOK_EVERY = 50  # batches on an accelerator, which would have to wait for each look
MEMORY = 100  # steps over which the mean and the deviation of the loss run
SPIKE = 10.0  # standard deviations above the mean, and at least this many times the mean


class NotFinite(InputError):
    """The loss or a parameter is infinite or not a number."""


class Health(Callback):
    """Watch the training loss, and refuse to save a model with parameters that are not finite.

    Args:
        replay: Knows which rows are in a batch.
    """

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self._losses: list[tuple[int, int, Tensor]] = []  # step, batch and loss, since the last look
        self._seen = 0
        self._mean = self._variance = 0.0

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        self._losses.append((trainer.global_step, trainer.fit_loop.batch_idx, loss.detach()))

    def on_step_boundary(self, trainer: Trainer) -> None:
        if self._losses and (self._losses[0][2].device.type == "cpu" or len(self._losses) >= LOOK_EVERY):
            self._look(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer)  # MLflow would keep the metrics of a broken model beside those of the resumed run

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer)  # batch numbers start anew

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._look(trainer)
        for name, parameter in pl_module.named_parameters():
            if not torch.isfinite(parameter).all():
                raise NotFinite(f"step {trainer.global_step}: {name} is not finite any more; {_ADVICE}")

    def _look(self, trainer: Trainer) -> None:
        losses, self._losses = self._losses, []
        for step, batch, tensor in losses:
            loss = tensor.item()
            if not math.isfinite(loss):
                raise NotFinite(f"step {step}: the training loss is {loss}, {self._where(trainer, batch)}; {_ADVICE}")
            self._compare(trainer, step, batch, loss)

    def _compare(self, trainer: Trainer, step: int, batch: int, loss: float) -> None:
        """Report a loss far above the last ones, and take it into their mean."""
        off = loss - self._mean
        if self._seen >= MEMORY and off > SPIKE * max(math.sqrt(self._variance), abs(self._mean)):
            where = self._where(trainer, batch)
            rank_zero_info(f"step {step}: the training loss is {loss:.4g}, after a mean of {self._mean:.4g}, {where}")
        self._seen += 1
        weight = 1 / min(self._seen, MEMORY)
        self._mean += weight * off
        self._variance += weight * (off * (loss - self._mean) - self._variance)

    def _where(self, trainer: Trainer, batch: int) -> str:
        where = f"in batch {batch} of epoch {trainer.current_epoch}"
        rows = self.replay.rows_of(batch)
        if not rows:
            return where
        dataset = trainer.train_dataloader.dataset  # type: ignore[union-attr]
        sick = [row for row in rows if not _is_finite(dataset[row])]
        held = "which holds values that are not finite in" if sick else "with"
        return f"{where}, {held} {listed(self.replay.name_rows(sick or rows))}"


_ADVICE = "lower the learning rate, or set --trainer.gradient_clip_val; saved checkpoints are from before"


def _is_finite(item: Any) -> bool:
    if isinstance(item, Tensor):
        return not item.is_floating_point() or bool(torch.isfinite(item).all())
    if isinstance(item, (tuple, list, dict)):
        return all(map(_is_finite, item.values() if isinstance(item, dict) else item))
    return True
