"""What was measured so far in an unfinished epoch: losses, running means of logged values, states of torchmetrics.

Without it, a resumed epoch would report the mean of its second half.
"""

from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor
from torchmetrics import Metric

from .epoch_loss import EpochLoss


def collect(trainer: Trainer) -> dict[str, Any]:
    """Collect it for a checkpoint, as plain values and tensors."""
    return {
        "losses": [losses.state() for losses in _losses(trainer)],
        "latest": {name: value.detach().cpu() for name, value in trainer.callback_metrics.items()},
        "running": {
            name: {state: getattr(metric, state).detach().cpu() for state in metric._defaults}
            for name, metric in trainer.fit_loop.epoch_loop._results.items()
            if metric.is_tensor and metric.meta.on_epoch and not metric.has_reset
        },
        "metrics": {
            name: {"updates": metric._update_count, "states": _cpu(metric.metric_state)}
            for name, metric in _metrics(trainer).items()
            if metric._update_count
        },
    }


def restore_losses(trainer: Trainer, saved: dict[str, Any]) -> None:
    """Restore the sum of the training losses."""
    for losses, state in zip(_losses(trainer), saved.get("losses", ()), strict=False):
        losses.restore(state)


def restore_latest(trainer: Trainer, saved: dict[str, Any]) -> None:
    """Restore the latest values, which schedulers and callbacks monitor."""
    device = trainer.lightning_module.device
    trainer.callback_metrics.update({name: value.to(device) for name, value in saved["latest"].items()})


def restore(trainer: Trainer, saved: dict[str, Any]) -> None:
    """Restore the latest values and the states of torchmetrics."""
    device = trainer.lightning_module.device
    restore_latest(trainer, saved)
    for name, metric in _metrics(trainer).items():
        if name in saved["metrics"]:
            metric._update_count = saved["metrics"][name]["updates"]
            for state, value in saved["metrics"][name]["states"].items():
                moved = [item.to(device) for item in value] if isinstance(value, list) else value.to(device)
                setattr(metric, state, moved)


def add_running(trainer: Trainer, saved: dict[str, Any]) -> None:
    """Add what was logged before the checkpoint to what the first batch after it has logged."""
    for name, metric in trainer.fit_loop.epoch_loop._results.items():
        for state, before in saved["running"].get(name, {}).items():
            before, now = before.to(trainer.lightning_module.device), getattr(metric, state)
            sums = metric.meta.is_mean_reduction or metric.meta.is_sum_reduction
            setattr(metric, state, before + now if sums else metric.meta.reduce_fx(before, now))


def _losses(trainer: Trainer) -> list[EpochLoss]:
    return [each for each in trainer.callbacks if isinstance(each, EpochLoss)]  # type: ignore[attr-defined]


def _metrics(trainer: Trainer) -> dict[str, Metric]:
    modules = trainer.lightning_module.named_modules()
    return {name: module for name, module in modules if isinstance(module, Metric)}


def _cpu(states: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.cpu() if isinstance(value, Tensor) else [item.cpu() for item in value]
        for name, value in states.items()
    }
