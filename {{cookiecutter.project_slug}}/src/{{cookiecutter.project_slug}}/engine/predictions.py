"""`predict` leaves predictions.csv in the run's folder."""

import csv
from collections.abc import Sequence
from typing import Any

import torch.distributed
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from .metrics import run_folder


class PredictionWriter(BasePredictionWriter):
    """Write what `LitDataModule.decode` makes of the predictions, one line per row of the data, counted from 1."""

    def __init__(self) -> None:
        super().__init__(write_interval="epoch")

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        rows: list[dict[str, Any]] = []
        for prediction, indices in zip(predictions, batch_indices[0], strict=True):
            columns = trainer.datamodule.decode(prediction)  # type: ignore[attr-defined]
            rows += [
                {"row": row + 1, **dict(zip(columns, values, strict=True))}
                for row, values in zip(indices, zip(*columns.values(), strict=True), strict=True)
            ]
        if trainer.world_size > 1:
            shares: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(shares, rows)
            rows = [row for share in shares for row in share]
        folder = run_folder(trainer)
        if folder is not None and trainer.is_global_zero and rows:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, fieldnames=list(rows[0]))
                writer.writeheader()
                writer.writerows(sorted(rows, key=lambda row: row["row"]))
