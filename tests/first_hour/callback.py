"""A callback of one's own."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class OwnCallback(Callback):
    """Count the training batches into a file, and keep the count in the checkpoint."""

    def __init__(self, path: str = "batches.txt") -> None:
        self.path = Path(path)
        self.batches = 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self.batches += 1

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.path.write_text(str(self.batches))

    def state_dict(self) -> dict[str, int]:
        return {"batches": self.batches}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.batches = state_dict["batches"]
