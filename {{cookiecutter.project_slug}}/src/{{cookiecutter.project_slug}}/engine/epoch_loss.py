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
        self._is_logged: bool | None = None  # whether the model logs a mean

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._logged is None:
            self._logged = _find(trainer, on_epoch=False) or False
        if self._logged:
            loss = self._logged.value
        else:
            loss = outputs.get("loss") if isinstance(outputs, dict) else None
            if loss is not None and pl_module.automatic_optimization and trainer.accumulate_grad_batches > 1:
                loss = loss * trainer.accumulate_grad_batches  # by which Lightning has divided it
        if loss is not None and loss is not self._last:  # which it is where a batch logs none
            self._last = loss
            self._new.append(loss)
            if len(self._new) >= ADD_EVERY:
                self._add()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        total, batches = self.state()
        self._sum, self._batches = 0.0, 0
        if self._is_logged is None:
            self._is_logged = _find(trainer, on_epoch=True) is not None
        if not batches or self._is_logged:
            return
        mean = total / batches
        if trainer.world_size > 1:
            like = torch.zeros(()) if self._last is None else self._last  # it is where the processes exchange tensors
            mean = trainer.strategy.reduce(like.new_tensor(mean, dtype=torch.float32), reduce_op="mean").item()
        # As Lightning logs at the end of an epoch, and at the step of its validation
        step = max(0, trainer.fit_loop.epoch_loop._batches_that_stepped - 1)
        for logger in trainer.loggers:
            logger.log_metrics({NAME: mean}, step=step)

    def state(self) -> tuple[float, int]:
        """Return the sum of the losses of the epoch so far, and their number, for a checkpoint."""
        self._add()
        return self._sum, self._batches

    def restore(self, state: tuple[float, int]) -> None:
        """Continue an epoch from a checkpoint."""
        self._new, (self._sum, self._batches) = [], state

    def _add(self) -> None:
        losses = [loss for loss in self._new if loss.numel() == 1]
        self._new = []
        if losses:
            on_cpu = losses[0].device.type == "cpu"
            values = [loss.item() for loss in losses] if on_cpu else torch.stack(losses).flatten().tolist()
            for value in values:  # one after the other: the same sum to the last bit, wherever a run was resumed
                self._sum += value
            self._batches += len(values)


def _find(trainer: Trainer, on_epoch: bool) -> Any:
    """Return Lightning's record of a training loss that the model logs per epoch, or only per step; None without."""
    for key, logged in trainer.fit_loop.epoch_loop._results.items():
        is_loss = stage_and_metric(logged.meta.name) == ("train", "loss") and logged.meta.on_epoch == on_epoch
        if is_loss and (on_epoch or (logged.is_tensor and key.startswith("training_step."))):
            return logged
    return None
