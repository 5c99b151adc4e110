"""Apply the configured optimizer settings when resuming, and take the fused form of an optimizer."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import nn, optim

FUSED = (optim.SGD, optim.Adam, optim.AdamW, optim.Adagrad)  # those with a fused form


class FusedOptimizer(Callback):
    """Use PyTorch's fused form of an optimizer, one kernel for all parameters, unless the model decides otherwise.

    It is set here, since not every device has it.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A gradient scaler unscales within fused optimizers, where Lightning cannot clip; FSDP has its own tensors.
        is_scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        if is_scaled or not isinstance(trainer.strategy, (DDPStrategy, SingleDeviceStrategy)):
            return
        if any(getattr(module, "sparse", False) for module in pl_module.modules()):  # whose gradients are
            return
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                if type(optimizer) in FUSED and _can_be_fused(type(optimizer), group):
                    group["fused"] = True


def _can_be_fused(kind: Any, group: dict[str, Any]) -> bool:
    """Try it on one number of every type and device."""
    if group.get("fused") is not None or group.get("foreach") is not None or group.get("differentiable"):
        return False
    for example in {(each.dtype, each.device): each for each in group["params"]}.values():
        trial = nn.Parameter(torch.zeros_like(example.detach().flatten()[:1]), requires_grad=False)
        trial.grad = torch.zeros_like(trial)
        try:
            kind([trial], lr=0.0, fused=True).step()
        except RuntimeError:
            return False
    return True


class KeepConfiguredOptimizer(Callback):
    """Keep the optimizer settings from `configure_optimizers` after a checkpoint is restored.

    A checkpoint restores its optimizer's settings along with its state, so that `--model.lr` would have no effect.
    State such as momentum stays as restored. A scheduler owns the current learning rate; it is scaled along with the
    initial one. ReduceLROnPlateau, which does not keep the initial one, continues at its restored rate.
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
                scale = configured["initial_lr"] / group["initial_lr"] if group.get("initial_lr") else 1.0
                current = {"lr": group["lr"] * scale} if scheduler else {}
                if getattr(scheduler, "cycle_momentum", False):  # OneCycleLR and CyclicLR also own the momentum
                    current |= {name: group[name] for name in ("momentum", "betas") if name in group}
                group.update(configured | current)
            for part in [scheduler, *getattr(scheduler, "_schedulers", [])]:  # SequentialLR has several
                if hasattr(part, "base_lrs"):
                    part.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
