"""`predict` writes predictions.csv into the run's folder."""

import csv
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from .contract import DecodesPredictions
from .processes import gather
from .runs import folder_of


class PredictionWriter(BasePredictionWriter):
    """Write one line per row of the predict dataset, counted from 1."""

    def __init__(self) -> None:
        super().__init__(write_interval="epoch")

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        loaders = [predictions] if len(batch_indices) == 1 else predictions
        # By dataloader, process and position, so that rows DistributedSampler padded with are written once.
        found: dict[tuple[int, int, int], dict[str, Any]] = {}
        for loader, (batches, known) in enumerate(zip(loaders, batch_indices, strict=True)):
            start = 0
            for number, prediction in enumerate(batches):
                if prediction is None:
                    continue  # this model writes its own predictions
                indices = known[number] if number < len(known) else None
                columns = to_columns(datamodule, prediction, indices, start=start)
                lines = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
                # Rows of an iterable dataset have no positions: write them process by process.
                process = 0 if indices else trainer.global_rank
                for row, line in zip(indices or range(start, start + len(lines)), lines, strict=True):
                    found[loader, process, row] = line
                start += len(lines)
        found = {key: line for share in gather(trainer, found) for key, line in share.items()}
        # With a single dataloader and known positions, `row` is the position; otherwise rows are counted.
        counted = {key: key[2] + 1 for key in found} if len(loaders) == 1 and not any(key[1] for key in found) else {}
        rows = [{"row": counted.get(key, n), **found[key]} for n, key in enumerate(sorted(found), start=1)]
        folder = folder_of(trainer)
        if folder is not None and trainer.is_global_zero and rows:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(name for row in rows for name in row)))
                writer.writeheader()
                writer.writerows(rows)


def to_columns(
    datamodule: Any, prediction: Any, rows: Sequence[int] | None = None, start: int = 0
) -> dict[str, list[Any]]:
    """Turn the prediction for one batch into columns.

    Args:
        datamodule: Decodes it, if it can; see `engine/contract.py`.
        prediction: What `predict_step` returned.
        rows: Positions in the predict dataset, if they are known.
        start: Position of the first row, if they are not.
    """
    if not isinstance(datamodule, DecodesPredictions):
        return plain_columns(prediction)
    size = len(next(iter(plain_columns(prediction).values())))
    return datamodule.decode(prediction, rows or range(start, start + size))


def plain_columns(prediction: Any, name: str = "prediction") -> dict[str, list[Any]]:
    """Turn a prediction into columns of plain numbers, one per output.

    Args:
        prediction: A tensor of shape (rows, ...), or a tuple or dict of them; anything else holds one value per row.
        name: Name of the columns.
    """
    if isinstance(prediction, dict):
        parts = [plain_columns(value, str(key)) for key, value in prediction.items()]
    elif isinstance(prediction, tuple):
        parts = [plain_columns(value, f"{name}_{number}") for number, value in enumerate(prediction)]
    elif not isinstance(prediction, Tensor):
        return {name: list(prediction)}
    elif prediction.dim() < 2 or prediction[0].numel() == 1:
        return {name: prediction.flatten().tolist()}
    else:
        columns = prediction.flatten(1).T.tolist()
        return {f"{name}_{number}": column for number, column in enumerate(columns)}
    return {key: values for part in parts for key, values in part.items()}
