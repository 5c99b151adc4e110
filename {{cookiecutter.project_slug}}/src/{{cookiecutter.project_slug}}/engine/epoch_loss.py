"""`train_loss_epoch`: the mean of the training loss over all batches of an epoch, beside the validation's loss."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from .results import stage_and_metric

NAME = "train_loss_epoch"
ADD_EVERY = 256  # batches: to add up a loss costs more than to keep it, and an accelerator would have to wait


class EpochLoss(Callback):
    """Log the mean of the training loss at the end of an epoch, every batch weighted alike.

    The loss is what the model logs in every `training_step` (`self.log("train_loss", loss)`), or else what that
    returns. A model that logs a mean of its own (`on_epoch=True`) is left alone.
    """

    def __init__(self) -> None:
        self._new: list[Tensor] = []
        self._sum = 0.0
        self._batches = 0
        self._last: Tensor | None = None
        self._logged: Any = None  # Lightning's record of the logged loss; False if there is none

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._logged is None:
            self._logged = _find(trainer, on_epoch=False) or False
        if self._logged:
            loss = self._logged.value
        else:
            loss = outputs.get("loss") if isinstance(outputs, dict) else None
        if loss is not None and loss is not self._last:  # which it is where a batch logs none
            self._last = loss
            self._new.append(loss)
            if len(self._new) >= ADD_EVERY:
                self._add()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        total, batches = self.state()
        self._sum, self._batches, self._logged = 0.0, 0, None
        if not batches or _find(trainer, on_epoch=True):
            return
        mean = torch.tensor(total / batches, device=pl_module.device)
        mean = trainer.strategy.reduce(mean, reduce_op="mean")  # over the processes
        # As Lightning logs at the end of an epoch, and at the step of its validation
        step = max(0, trainer.fit_loop.epoch_loop._batches_that_stepped - 1)
        for logger in trainer.loggers:
            logger.log_metrics({NAME: mean.item(), "epoch": trainer.current_epoch}, step=step)

    def state(self) -> tuple[float, int]:
        """Return the sum of the losses of the epoch so far, and their number, for a checkpoint."""
        self._add()
        return self._sum, self._batches

    def restore(self, state: tuple[float, int]) -> None:
        """Continue an epoch from a checkpoint."""
        self._new, (self._sum, self._batches) = [], state

    def _add(self) -> None:
        # One after the other, so that the sum is the same to the last bit wherever a run was resumed
        for loss in torch.stack([loss.detach().float().mean() for loss in self._new]).tolist() if self._new else ():
            self._sum += loss
        self._batches += len(self._new)
        self._new = []


def _find(trainer: Trainer, on_epoch: bool) -> Any:
    """Return Lightning's record of a training loss that the model logs per epoch, or only per step; None without."""
    for key, logged in trainer.fit_loop.epoch_loop._results.items():
        if stage_and_metric(logged.meta.name) == ("train", "loss") and logged.meta.on_epoch == on_epoch:
            if on_epoch or (logged.is_tensor and key.startswith("training_step.")):
                return logged
    return None
