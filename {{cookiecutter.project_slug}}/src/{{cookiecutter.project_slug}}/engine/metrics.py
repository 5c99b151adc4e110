"""metrics.csv: every logged number, always written; `results.py` reads it back."""

import csv
import os
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

    @property
    def rows(self) -> int:
        """Rows logged so far, those of the run it resumes included; 0 in all processes but the first."""
        return self._experiment.rows if isinstance(self._experiment, _Writer) else 0

    @rank_zero_only
    def keep(self, rows: int | None) -> None:
        """Drop from the file all rows but the first ones."""
        self.experiment.rewrite(rows)


class _Writer(ExperimentWriter):
    def __init__(self, log_dir: str, filename: str, append: bool) -> None:
        self.NAME_METRICS_FILE = filename
        self._append = append
        self.rows = 0
        super().__init__(log_dir)

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        self.rows += 1
        super().log_metrics(*args, **kwargs)

    def save(self) -> None:
        """Append what was logged since the last time; Lightning's own opens files by fsspec, ten times as slowly."""
        if not self.metrics:
            return
        path = Path(self.metrics_file_path)
        if self._record_new_keys():
            self.rewrite()
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.metrics_keys)
            if new:
                writer.writeheader()
            writer.writerows(self.metrics)
        self.metrics = []

    def rewrite(self, most: int | None = None) -> None:
        """Write the file again with all columns, perhaps only its first rows; a kill leaves the old file or the new."""
        path = Path(self.metrics_file_path)
        if path.exists():
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            temporary = path.with_suffix(".tmp")
            with temporary.open("w", newline="") as file:
                writer = csv.DictWriter(file, self.metrics_keys)
                writer.writeheader()
                writer.writerows(rows[:most])
            os.replace(temporary, path)
            self.rows = len(rows[:most]) + len(self.metrics)

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.exists() and self._append:
            with path.open(newline="") as file:
                lines = csv.reader(file)
                self.metrics_keys = next(lines, [])
                self.rows = sum(1 for _ in lines)
        else:
            path.unlink(missing_ok=True)
