"""Signals: finish the step, save, and exit as a shell expects it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGREE_EVERY = 10  # batches between two questions to the other processes


class Stopped(SystemExit):
    """The run was stopped by a signal; the code is 128 plus its number."""


class StopOnSignal(Callback):
    """End the training at the next step boundary after SIGINT or SIGTERM, on all processes at the same step.

    Lightning's own handlers call collectives inside of signal handlers, which can deadlock. A second signal ends
    the process at once.

    Args:
        save: What to do before.
    """

    def __init__(self, save: Callable[[Trainer], None]) -> None:
        self.save = save
        self.signum = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Here, since Lightning has installed its own by now; it restores the ones before when the run ends.
        self.trainer = trainer
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                signal.signal(signum, self._handle)

    def on_step_boundary(self, trainer: Trainer) -> None:
        if trainer.fit_loop._should_accumulate():
            return  # gradients are in no checkpoint
        signum = self.signum
        if trainer.world_size > 1:
            if trainer.fit_loop.epoch_loop.batch_progress.current.ready % AGREE_EVERY:
                return
            if not trainer.strategy.reduce_boolean_decision(bool(signum), all=False):
                return
            signum = max(trainer.strategy.broadcast(signum), signum) or signal.SIGTERM
        if signum:
            self.save(trainer)
            # Lightning kills the first process if one that it has started exits with an error.
            environment = getattr(trainer.strategy, "cluster_environment", None)
            started = isinstance(environment, LightningEnvironment) and trainer.global_rank > 0
            raise Stopped(0 if started else 128 + signum)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            _leave(self.trainer, signum)
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
