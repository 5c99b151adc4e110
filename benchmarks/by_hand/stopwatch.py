"""The clock that all programs of this benchmark share: from before the first step of training to after the last."""

import json
import os
import time
from pathlib import Path

import torch

RESULT = "SPEED_RESULT"  # environment variable: the file to write the result to; by default it is printed


def device() -> torch.device:
    """Return the accelerator of this machine, or else the CPU."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


class Stopwatch:
    """Measures wall and processor time of the training, in seconds."""

    def start(self) -> None:
        self.began = self._now()

    def stop(self, loss: float, steps: int) -> None:
        """Write down the time.

        Args:
            loss: Validation loss at the end.
            steps: Optimizer steps.
        """
        wall, cpu = (end - begin for begin, end in zip(self.began, self._now(), strict=True))
        result = json.dumps({"wall": wall, "cpu": cpu, "loss": loss, "steps": steps})
        if path := os.environ.get(RESULT):
            Path(path).write_text(result)
        else:
            print(result)

    def _now(self) -> tuple[float, float]:
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        return time.perf_counter(), time.process_time()
