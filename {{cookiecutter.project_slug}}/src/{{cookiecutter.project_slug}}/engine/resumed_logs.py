"""Logs of a resumed run: no step twice, the same run in every tracker, and there the status of how it really ended."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger

from .loggers import continue_run, end_run, flush, resume_from, run_id
from .metrics import MetricsCSV
from .provenance import how_it_ended
from .record import read_record
from .runs import folder_of

TRACKERS = "trackers.json"  # in a run's folder: its ids in the trackers, by position and class of the logger
ROWS = "metrics_rows"  # in a checkpoint: the number of rows in metrics.csv that come before it


class ResumedLogs(Callback):
    """Let the loggers of a training continue where its checkpoint was saved.

    A killed run logged steps after its last checkpoint, which the resumed run takes again: their rows and points are
    dropped as soon as it trains, so that a resume that fails before drops nothing.

    It must be the first callback: what others log at the start of a batch is logged again when the batch is repeated.

    Args:
        folder: The run's folder.
        metrics: The logger of metrics.csv.
        loggers: The other loggers.
    """

    def __init__(self, folder: Path, metrics: MetricsCSV, loggers: Sequence[Logger]) -> None:
        self.folder = folder
        self.path = folder / TRACKERS
        self.metrics = metrics
        self.loggers = {f"{number} {type(logger).__name__}": logger for number, logger in enumerate(loggers, start=1)}
        self.ids: dict[str, str] = json.loads(self.path.read_text()) if self.path.exists() else {}
        for name in self.ids.keys() & self.loggers.keys():
            continue_run(self.loggers[name], self.ids[name])
        self.is_resumed = self.is_training = False
        self.rows: int | None = None  # to keep from before the resume
        self.rows_before_batch = 0
        self.end = "failed"

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.is_resumed, self.rows = True, checkpoint.get(ROWS)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.is_training = True
        if folder_of(trainer) and trainer.is_global_zero:  # before there is a checkpoint to resume from
            ids = self.ids | {name: found for name, logger in self.loggers.items() if (found := run_id(logger))}
            if ids != self.ids:
                self.path.write_text(json.dumps(ids, indent=2))
        if self.is_resumed:
            self.metrics.keep(self.rows)
            for logger in trainer.loggers:
                resume_from(logger, trainer.global_step)

    def on_train_batch_start(self, *args: Any) -> None:
        self.rows_before_batch = self.metrics.rows

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        for logger in trainer.loggers:
            flush(logger)  # the checkpoint must not be on disk before the rows it counts
        batches: Any = trainer.fit_loop.epoch_loop.batch_progress.total
        is_repeated = batches.ready > batches.processed  # saved within a batch, before its optimizer step
        checkpoint[ROWS] = self.rows_before_batch if is_repeated else self.metrics.rows

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.end = how_it_ended(exception)["status"]

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Tell the trackers how a run ended, once Lightning has told them that it failed."""
        try:
            yield
        except BaseException:
            refused = self.ids and not self.is_training  # so the run ended as it did before
            for logger in self.loggers.values():
                end_run(logger, read_record(self.folder).get("status", "") if refused else self.end)
            raise
