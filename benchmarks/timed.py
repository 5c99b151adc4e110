"""A callback that times the training: `--trainer.callbacks+=timed.Timed` for a rendered project.

jsonargparse imports this module when it reads the command line. The program is imported by then, and nothing of it is
made yet: the moment to apply the switch of switches.py that the environment names.
"""

import os
from typing import Any

import switches
from lightning.pytorch import Callback, LightningModule, Trainer
from stopwatch import Stopwatch

if name := os.environ.get("SPEED_SWITCH"):
    switches.apply(name)


class Timed(Callback):
    """Measure from the first to the last step, with validations and checkpoints."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        stopwatch = Stopwatch()
        model: Any = pl_module
        begin, end = model.on_train_start, model.on_train_end

        def on_train_start() -> None:
            begin()
            stopwatch.start()

        def on_train_end() -> None:
            end()
            loss = trainer.callback_metrics.get("val_loss", trainer.callback_metrics.get("val/loss"))
            stopwatch.stop(float("nan") if loss is None else loss.item(), trainer.global_step)

        # The hooks of the model come after those of all callbacks, one of which saves the last checkpoint.
        vars(model).update(on_train_start=on_train_start, on_train_end=on_train_end)
