"""Progress of a run: a bar in a terminal, lines of text in a log."""

import math
import sys
import time
from datetime import timedelta
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar

REDRAWS = 10  # per second


def progress_bar() -> ProgressBar:
    """Make a bar, or lines where stdout is not a terminal: a file, a pipe, Slurm, CI."""
    return Bar() if sys.stdout.isatty() else ProgressLines()


class Bar(RichProgressBar):
    """Lightning's bar, updated ten times a second instead of at every batch, which takes as long as a small step."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=REDRAWS)
        self._updated = 0.0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if self._is_due(self.total_train_batches, args[2]):
            super().on_train_batch_end(trainer, pl_module, *args)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if self._is_due(self.total_val_batches_current_dataloader, args[2]):
            super().on_validation_batch_end(trainer, pl_module, *args)

    def _is_due(self, batches: float, number: int) -> bool:
        now = time.monotonic()
        if 0 < number < batches - 1 and now - self._updated < 1 / REDRAWS:  # the ends of an epoch give its speed
            return False
        self._updated = now
        return True


class ProgressLines(ProgressBar):
    """A line for every epoch, and for every few minutes within a long one.

    epoch 2/5, batch 31/31, step 62, train_loss 0.52, val_loss 0.501, took 0:00:02, left 0:00:06

    Args:
        minutes: Time between two lines within an epoch, a validation, a test or a prediction.
    """

    def __init__(self, minutes: float = 1.0) -> None:
        super().__init__()
        self._seconds = 60 * minutes
        self.enable()

    def enable(self) -> None:
        self._enabled = True
        self._due = time.monotonic() + self._seconds

    def disable(self) -> None:
        self._enabled = False
        self._due = math.inf  # so that a batch costs one comparison

    def print(self, *args: Any, **kwargs: Any) -> None:
        print(*args, **kwargs, flush=True)
        self._due = time.monotonic() + self._seconds

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._train_start = self._epoch_start = time.monotonic()
        self._batches_before = _batches(trainer).total.processed  # by the run that it resumes

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_start = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if time.monotonic() >= self._due:
            self._print_training(trainer, _metrics(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = _metrics(trainer)  # by all processes: it may compute means across them
        if self._enabled:
            self._print_training(trainer, metrics)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluation_start = time.monotonic()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if time.monotonic() >= self._due:
            self._print_evaluation(trainer, f"batch {batch_idx + 1}")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._enabled and trainer.state.fn != "fit":
            self._print_evaluation(trainer, "done")

    on_test_start = on_predict_start = on_validation_start
    on_test_batch_end = on_predict_batch_end = on_validation_batch_end
    on_test_end = on_predict_end = on_validation_end

    def _print_training(self, trainer: Trainer, metrics: list[str]) -> None:
        now, batches = time.monotonic(), _batches(trainer)
        epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs
        steps = math.inf if trainer.max_steps == -1 else trainer.max_steps
        left = min(
            (epochs - trainer.current_epoch) * trainer.num_training_batches - batches.current.processed,
            (steps - trainer.global_step) * trainer.accumulate_grad_batches,
        )
        left *= (now - self._train_start) / max(1, batches.total.processed - self._batches_before)
        parts = [
            f"epoch {trainer.current_epoch + 1}{_of(epochs)}",
            f"batch {batches.current.processed}{_of(trainer.num_training_batches)}",
            f"step {trainer.global_step}{_of(steps)}",
            *metrics,
            f"took {_duration(now - self._epoch_start)}",
        ]
        if math.isfinite(left):
            parts.append(f"left {_duration(left)}")
        self.print(", ".join(parts))

    def _print_evaluation(self, trainer: Trainer, what: str) -> None:
        stage: Any = trainer.state.stage
        self.print(f"{stage.value}, {what}, took {_duration(time.monotonic() - self._evaluation_start)}")


def _batches(trainer: Trainer) -> Any:
    return trainer.fit_loop.epoch_loop.batch_progress


def _metrics(trainer: Trainer) -> list[str]:
    metrics = trainer.logged_metrics | trainer.progress_bar_metrics
    return [f"{name} {float(value):.4g}" for name, value in metrics.items()]


def _of(total: float) -> str:
    return f"/{total}" if math.isfinite(total) else ""


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
