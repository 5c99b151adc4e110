"""metrics.csv: every logged number, always written; `results.py` reads it back."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only


class MetricsCSV(CSVLogger):
    """Lightning's CSVLogger, except that a resumed run appends to its file; the stock logger deletes it.

    Args:
        root: Folder of all runs.
        name: Folder of this run.
        filename: File in it.
        append: Whether to keep the rows that are there.
    """

    def __init__(self, root: Path, name: str, filename: str, append: bool) -> None:
        super().__init__(root, name=name, version="")
        self._filename = filename
        self._append = append

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = _Writer(self.log_dir, self._filename, self._append)
        return self._experiment

    @rank_zero_only
    def log_hyperparams(self, *args: object, **kwargs: object) -> None:
        """Write nothing: config.yaml has them all."""


class _Writer(ExperimentWriter):
    def __init__(self, log_dir: str, filename: str, append: bool) -> None:
        self.NAME_METRICS_FILE = filename
        self._append = append
        super().__init__(log_dir)

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.exists() and self._append:
            with path.open(newline="") as file:
                self.metrics_keys = next(csv.reader(file), [])
        else:
            path.unlink(missing_ok=True)
