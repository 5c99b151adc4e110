"""`fit` writes columns.csv into the run's folder: how the data's columns are used."""

import csv

from lightning.pytorch import Callback, LightningModule, Trainer

from .contract import DescribesColumns
from .runs import folder_of


class ColumnsCSV(Callback):
    """Write how each column of a table is used, if the datamodule describes that."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder, datamodule = folder_of(trainer), trainer.datamodule  # type: ignore[attr-defined]
        if folder is None or not trainer.is_global_zero or not isinstance(datamodule, DescribesColumns):
            return
        folder.mkdir(parents=True, exist_ok=True)
        described = datamodule.describe_columns()
        with (folder / "columns.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(described)
            writer.writerows(zip(*described.values(), strict=True))
