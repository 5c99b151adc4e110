"""A callback that times every epoch and what follows the last: `--trainer.callbacks+=phases.Phases`."""

import atexit
import json
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from stopwatch import RESULT


class Phases(Callback):
    """Write, when the process ends, the seconds of every epoch and of what came after the last, and the steps.

    An epoch lasts until the next one starts: validation, checkpoints and logs included. After the last epoch come
    last.ckpt, the pictures and the summary.
    """

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []  # wall and CPU time at the start of every epoch, and at the end

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.times.append(_now())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.times.append(_now())
        atexit.register(self.write, trainer.global_step)

    def write(self, steps: int) -> None:
        """Write the result."""
        *epochs, after = _differences([*self.times, _now()])
        Path(os.environ[RESULT]).write_text(json.dumps({"epochs": epochs, "after": after, "steps": steps}))


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _differences(times: list[Any]) -> list[dict[str, float]]:
    return [{"wall": after[0] - before[0], "cpu": after[1] - before[1]} for before, after in pairwise(times)]
