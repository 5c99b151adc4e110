"""Console output: tables, and filters for warnings that are expected."""

import io
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import RichModelSummary
from lightning.pytorch.utilities.model_summary import get_human_readable_count
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .commands import print_path
from .contract import DescribesColumns
from .errors import InputError
from .results import best_step, read_curves

# Warnings of Lightning and PyTorch about what this project does on purpose, each with the reason.
EXPECTED_WARNINGS = (
    ".*does not have many workers.*",  # rows in memory load slower through worker processes
    "The number of training batches .* is smaller than the logging interval",  # LearningCurves logs every epoch
    ".*LeafSpec.* is deprecated",  # Lightning 2.6 still uses it, PyTorch 2.13 deprecates it
    "Checkpoint directory .* exists and is not empty",  # a resumed run keeps its folder
    "The dirpath has changed from",  # `fit --ckpt_path best` starts a new run with its own best checkpoint
    "Be aware that when using `ckpt_path`, callbacks used to create",  # evaluation does not need the training callbacks
    "Using `DistributedSampler` with the dataloaders",  # shares.py evaluates every row once
    "The `srun` command is available on your system but is not used",  # where Slurm is installed, for any other run
    ".*configure_optimizers` will be overridden by",  # said in plain words by the command line
)


WIDEST = 28  # characters of a cell
SHORT = 10  # characters up to which a cell is never shortened
WORTHWHILE = 0.02  # of its value, by which a metric has to improve in an epoch


class LayerTable(RichModelSummary):
    """Lightning's table of layers without its columns that are empty or 0 for most models."""

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        columns = {name.strip(): values for name, values in summary_data}
        table = Table("layer", "type")
        table.add_column("parameters", justify="right")
        for row in zip(*(columns[name] for name in ("Name", "Type", "Params")), strict=True):
            table.add_row(*row)
        console = Console()
        console.print(table)
        counts = (get_human_readable_count(count).strip() for count in (total_parameters, trainable_parameters))
        console.print("{} parameters, {} of them trainable".format(*counts))


def set_up() -> None:
    """Print on every kind of console and into logs, and only what a user has to read."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Not every console can encode the progress bar; a log must show a line as soon as it is printed.
            stream.reconfigure(errors="replace", line_buffering=True)
    if not sys.stdout.isatty():
        os.environ.setdefault("COLUMNS", "120")  # for the tables of rich and Lightning
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_worth_reading)
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)


def _is_worth_reading(record: logging.LogRecord) -> bool:
    return not any(text in str(record.msg) for text in ("Tip:", "Trainer already configured with model summary"))


def print_summary(folder: Path, parts: Sequence[Table | str], report: Path | None) -> None:
    """Print tables and advice, then the run's folder and its report, which a click opens in most terminals."""
    console = Console()
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str), highlight=False)
    for path in filter(None, (folder, report)):
        print_path(path)


def print_columns(datamodule: Any) -> None:
    """Print how each column of a table is used, and the datamodule's `notes` if it has any.

    Raises:
        InputError: If the datamodule does not describe its columns.
    """
    if not isinstance(datamodule, DescribesColumns):
        raise InputError(f"{type(datamodule).__name__} does not describe its columns; see engine/contract.py")
    described = datamodule.describe_columns()
    table = Table(box=SIMPLE_HEAD)
    for name, cells in described.items():
        longest = max(len(str(cell)) for cell in [name, *cells])
        table.add_column(name, no_wrap=True, max_width=WIDEST, min_width=longest if longest <= SHORT else None)
    for row in zip(*described.values(), strict=True):
        table.add_row(*(escape(str(cell)) for cell in row))
    Console().print(table)
    for note in getattr(datamodule, "notes", ()):
        print(note)


def result_table(folder: Path, title: str, monitor: str, mode: str) -> Table:
    """Tabulate every metric of a fit: at its first and last logging, and at best.ckpt.

    Args:
        folder: The run's folder.
        title: Title of the table.
        monitor: Metric by which best.ckpt is chosen.
        mode: "min" or "max": which of its values is best.
    """
    curves = read_curves(folder)
    best = best_step(curves.get(monitor, {}), mode)
    table = Table("metric", "first", "last", "at best.ckpt", title=title)
    for name, curve in sorted(curves.items()):
        values = [*curve.values()]
        numbers = [values[0], values[-1], None if best is None else curve.get(best)]
        table.add_row(name, *("" if number is None else f"{number:.4g}" for number in numbers))
    return table


def advice(folder: Path, monitor: str, mode: str) -> str | None:
    """Advise to train for longer, if the last epoch still improved the monitored metric by more than `WORTHWHILE`.

    Args:
        folder: The run's folder.
        monitor: Metric by which best.ckpt is chosen.
        mode: "min" or "max": which of its values is best.
    """
    values = [value for step, value in read_curves(folder).get(monitor, {}).items() if step]  # without the untrained
    if len(values) < 2:
        return None
    before, last = min(values[:-1]) if mode == "min" else max(values[:-1]), values[-1]
    gain = before - last if mode == "min" else last - before
    if not gain > WORTHWHILE * abs(before):
        return None
    return f"{monitor} was still getting better: train for longer with --trainer.max_epochs"
