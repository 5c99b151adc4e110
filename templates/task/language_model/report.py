"""Samples at every validation: how the model continues a prompt."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from .datamodule import LitDataModule
from .engine.loggers import log_text
from .engine.runs import folder_of
from .network import Transformer


class LitReport(Callback):
    """Append a sample to samples.txt at each validation during training, starting with the untrained model.

    It needs the project's own data and network; with others it does nothing.
    """

    # At the start: EMA weights are swapped in by now, and swapped out before the end.
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        network = getattr(pl_module, "network", None)
        if not isinstance(datamodule, LitDataModule) or not isinstance(network, Transformer):
            return
        if trainer.state.fn != "fit":
            return  # samples.txt tracks training only
        prompt = datamodule.prompt(datamodule.prompts[0])
        # A generator, so that sampling repeats and leaves the random state of training alone. All processes take part,
        # since a sharded model is whole only across all of them.
        tokens = trainer.strategy.batch_to_device(prompt.tokens)
        settings = prompt._replace(tokens=tokens)
        continued = network.generate(*settings, generator=torch.Generator().manual_seed(0))
        folder = folder_of(trainer)
        if folder is None or not trainer.is_global_zero:
            return
        text = datamodule.vocabulary.decode(continued[0])
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "samples.txt").open("a", encoding="utf-8") as file:
            file.write(f"=== step {trainer.global_step}\n{text}\n\n")
        for logger in trainer.loggers:
            log_text(logger, "sample", text, trainer.global_step)
