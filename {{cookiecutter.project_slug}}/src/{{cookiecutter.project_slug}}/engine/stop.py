"""Signals: finish the step, save, and exit as a shell expects it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment

from .processes import largest

if TYPE_CHECKING:
    from .last_checkpoint import LastCheckpoint

# Ctrl-C, the end of a container or of a preempted job, and Slurm's warning before the time limit, which Windows lacks
SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))
SECONDS = 1.0  # between two agreements of several processes
MOST_BATCHES = 100  # between them, since batches may become slower


class Stopped(SystemExit):
    """The run was stopped by a signal; the code is 128 plus its number."""


class StopOnSignal(Callback):
    """End the training at the next step boundary after a signal, on all processes at the same step.

    Lightning's own handlers call collectives inside of signal handlers, which can deadlock. Several processes agree
    about once a second, and between two epochs, whether one of them has got a signal, and whether last.ckpt is due. A
    second signal ends the process at once, and so does the first one outside of training.

    Args:
        last: Saves last.ckpt.
    """

    def __init__(self, last: LastCheckpoint) -> None:
        self.last = last
        self.signum = 0
        self.trains = False
        self._agreed_at = 0.0
        self._agreed = self._next = 0  # batches at the last and the next agreement
        self._epoch = 0  # of the last one

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._take_signals(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._take_signals(trainer)
        self.trains = True
        self._agreed = self._next = trainer.fit_loop.epoch_loop.batch_progress.total.ready
        self._agreed_at = time.monotonic()

    on_validation_start = on_test_start = on_predict_start = on_sanity_check_start

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.trains = False

    def on_step_boundary(self, trainer: Trainer) -> None:
        if trainer.fit_loop._should_accumulate():
            return  # gradients are in no checkpoint
        signum = self.signum
        if trainer.world_size > 1:
            done = trainer.fit_loop.epoch_loop.batch_progress.total.ready
            if done < self._next and trainer.current_epoch == self._epoch:
                return
            signum, saves = self._agree(trainer, done)
            if saves and not signum:
                self.last.save(trainer)
        if signum:
            self.last.save(trainer)
            # Lightning kills the first process if one that it has started exits with an error.
            environment = getattr(trainer.strategy, "cluster_environment", None)
            started = isinstance(environment, LightningEnvironment) and trainer.global_rank > 0
            raise Stopped(0 if started else 128 + signum)

    def _agree(self, trainer: Trainer, done: int) -> tuple[int, bool]:
        """Return the signal that any process has got, or 0, and whether last.ckpt is due.

        Args:
            trainer: Of the run.
            done: Number of batches that were begun.
        """
        now = time.monotonic()
        pace = (now - self._agreed_at) / max(1, done - self._agreed)  # seconds per batch
        signum, saves, pace = largest(trainer, self.signum, self.last.is_due(trainer), pace)
        self._agreed, self._agreed_at, self._epoch = done, now, trainer.current_epoch
        self._next = done + max(1, min(MOST_BATCHES, int(SECONDS / max(pace, 1e-6))))
        return int(signum), bool(saves)

    def _take_signals(self, trainer: Trainer) -> None:
        # Once Lightning has installed its own handlers; it restores the ones before when the run ends.
        self.trainer = trainer
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                signal.signal(signum, self._handle)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            _leave(self.trainer, signum)
        if not self.trains:
            raise Stopped(128 + signum)
        self.signum = signum
        if self.trainer.is_global_zero:
            name = signal.Signals(signum).name
            os.write(2, f"\n{name}: finishing the step; a second {name} exits at once\n".encode())


def _leave(trainer: Trainer, signum: int) -> Any:
    """Exit at once, and leave no process behind."""
    for process in multiprocessing.active_children():
        process.kill()
    for started in getattr(trainer.strategy.launcher, "procs", []):
        started.kill()
    os._exit(128 + signum)
