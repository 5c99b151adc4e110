"""What to look at after a validation: how the model goes on from a prompt."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from .engine.loggers import log_text
from .engine.metrics import run_folder


class LitReport(Callback):
    """Add a generated text to samples.txt after each validation, in training, also to that of the untrained model."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit":
            return  # by itself, a validation knows no step
        model: Any = pl_module
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        prompt = datamodule.encode(datamodule.prompts[0])
        # The same chance every time, and none taken from the training. All processes take part: a sharded model
        # is whole only where all of them are.
        tokens = trainer.strategy.batch_to_device(prompt)[None]
        continued = model.generate(tokens, generator=torch.Generator().manual_seed(0))
        folder = run_folder(trainer)
        if folder is None or not trainer.is_global_zero:
            return
        text = datamodule.vocabulary.decode(continued[0])
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "samples.txt").open("a", encoding="utf-8") as file:
            file.write(f"=== step {trainer.global_step}\n{text}\n\n")
        for logger in trainer.loggers:
            log_text(logger, "sample", text, trainer.global_step)
