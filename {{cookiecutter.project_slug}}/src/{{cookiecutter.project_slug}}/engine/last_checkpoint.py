"""last.ckpt: where a run is resumed after a kill, a crash or a signal."""

import time
from contextlib import suppress
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from .durable import require_space, sweep
from .errors import InputError
from .health import NotFinite
from .runs import CHECKPOINTS, folder_of
from .stop import Stopped

SHARE = 50  # saving takes at most one in this many seconds


class LastCheckpoint(Checkpoint):
    """Save last.ckpt at a step boundary, and when training ends, or fails there, as where a row cannot be loaded.

    Where it fails within a step, the checkpoint before is the one that can be resumed exactly.

    Args:
        every_n_minutes: Minutes between two saves; more where saving would take over 2 % of the time.
        every_n_steps: Optimizer steps between two saves.
    """

    def __init__(self, every_n_minutes: float | None = 1.0, every_n_steps: int | None = None) -> None:
        self.every_n_minutes = every_n_minutes
        self.every_n_steps = every_n_steps
        self._path: Path | None = None  # as soon as training has started
        self._boundary: int | None = None  # batches that were begun at the last step boundary without open gradients
        self._saved_step = 0
        self._duration = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = trainer.strategy.broadcast(folder_of(trainer))
        if folder is None:
            return
        if trainer.is_global_zero:
            sweep(folder / CHECKPOINTS)
            require_space(folder / CHECKPOINTS, sum(value.nbytes for value in pl_module.parameters()))
        self._path = folder / CHECKPOINTS / "last.ckpt"
        self._saved_step = trainer.global_step
        self._saved_at = time.monotonic()

    def on_step_boundary(self, trainer: Trainer) -> None:
        self._boundary = None if trainer.fit_loop._should_accumulate() else _batches(trainer)
        enough = self.every_n_steps and trainer.global_step - self._saved_step >= self.every_n_steps
        if self._can_save(trainer) and (enough or (trainer.world_size == 1 and self.is_due(trainer))):
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._boundary != _batches(trainer) or isinstance(exception, (NotFinite, Stopped)):
            return
        if trainer.world_size == 1:  # one process of several may fail alone, and saving would wait for the others
            with suppress(InputError):  # such as a full disk; the exception is what matters
                self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Save now, unless training has not started or the run has no folder."""
        if self._path is None:
            return
        began = time.monotonic()
        trainer.save_checkpoint(self._path, weights_only=False)
        self._saved_at = time.monotonic()
        self._duration = self._saved_at - began
        self._saved_step = trainer.global_step

    def is_due(self, trainer: Trainer) -> bool:
        """Tell whether so much time has passed that it should save; several processes agree on it in `stop.py`."""
        if self.every_n_minutes is None or not self._can_save(trainer):
            return False
        return time.monotonic() - self._saved_at > max(60 * self.every_n_minutes, SHARE * self._duration)

    def _can_save(self, trainer: Trainer) -> bool:
        return self._path is not None and self._boundary is not None and trainer.global_step != self._saved_step


def _batches(trainer: Trainer) -> int:
    begun: int = trainer.fit_loop.epoch_loop.batch_progress.total.ready
    return begun
