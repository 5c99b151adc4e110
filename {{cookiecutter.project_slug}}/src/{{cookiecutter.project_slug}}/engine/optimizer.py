"""Resuming with another learning rate really uses it."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class KeepConfiguredOptimizer(Callback):
    """Keep the optimizer settings from `configure_optimizers` after a checkpoint is restored.

    A checkpoint restores its optimizer's settings along with its state, so that `--model.lr` would have no effect.
    State such as momentum stays as restored. A scheduler owns the current learning rate; the new value becomes the
    one it scales.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._configured = [
            [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
            for optimizer in trainer.optimizers
        ]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.ckpt_path is None:
            return
        schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
        for optimizer, settings in zip(trainer.optimizers, self._configured, strict=True):
            scheduler: Any = next((s for s in schedulers if s.optimizer is optimizer), None)
            for group, configured in zip(optimizer.param_groups, settings, strict=True):
                current = {"lr": group["lr"]} if scheduler else {}
                group.update(configured | current)
            if hasattr(scheduler, "base_lrs"):
                scheduler.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
