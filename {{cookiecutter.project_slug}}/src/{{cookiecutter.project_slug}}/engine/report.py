"""What a validation or a test looked like: pictures in the run's folder and in every logger."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from .loggers import log_picture
from .metrics import run_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Report(Callback):
    """Keep what the steps of a validation or test return, and draw it at the end.

    A task says in `draw` what there is to see. Under several processes every one gets the outputs of all,
    in the order of the data.
    """

    def __init__(self) -> None:
        self._batches: list[dict[str, Tensor]] = []
        self._outputs: dict[str, Tensor] = {}

    def draw(self, datamodule: Any, split: str, outputs: dict[str, Tensor]) -> "dict[str, Figure]":
        """Draw what there is to see.

        Args:
            datamodule: Where the data came from.
            split: "val" or "test".
            outputs: What the steps returned, each joined along its first dimension.

        Returns:
            Figures by name.
        """
        raise NotImplementedError

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._batches = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any, **kwargs: Any
    ) -> None:
        if isinstance(outputs, dict):
            self._batches.append(outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        joined = {name: torch.cat([batch[name] for batch in self._batches]) for name in next(iter(self._batches), {})}
        if trainer.world_size > 1:
            # The processes took turns at the rows.
            joined = {
                name: torch.stack(gather_all_tensors(values), dim=1).flatten(0, 1) for name, values in joined.items()
            }
        self._batches, self._outputs = [], joined

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._draw(trainer, "val", "-validate")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, "val")

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, "test", "-test")

    def _draw(self, trainer: Trainer, split: str, suffix: str = "") -> None:
        folder = run_folder(trainer)
        if folder is None or not trainer.is_global_zero or not self._outputs:
            return
        folder.mkdir(parents=True, exist_ok=True)
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]
        rows = len(datamodule.splits[split])  # without those that came twice, to give every process as many
        outputs = {name: values[:rows] for name, values in self._outputs.items()}
        for name, figure in self.draw(datamodule, split, outputs).items():
            save_picture(trainer, figure, folder / f"{name}{suffix}.png")


def save_picture(trainer: Trainer, figure: "Figure", path: Path) -> None:
    """Write a figure, and send it to every logger."""
    figure.savefig(path, dpi=120)
    for logger in trainer.loggers:
        log_picture(logger, path, trainer.global_step)
