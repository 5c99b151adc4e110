"""What is seen while trials run: a line for each that has ended, and in a terminal a bar."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import rich.progress
from rich.markup import escape

from ..engine.comparison import duration, table_console


class Progress:
    """A progress bar over children, with a line for each that has ended.

    Args:
        total: Number of children.
    """

    def __init__(self, total: int) -> None:
        self._console = table_console()
        columns = (
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.description}"),
            rich.progress.TimeElapsedColumn(),
        )
        self._bar = rich.progress.Progress(*columns, console=self._console, disable=not sys.stdout.isatty())
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def update(self, done: int, description: str) -> None:
        """Show how many have ended, and what else there is to say."""
        self._bar.update(self._task, completed=done, description=escape(description))

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def print_failure(self, name: str, lines: Sequence[str], seconds: float, log: Path) -> None:
        """Print that a child failed, and the end of its log."""
        self.print(f"{name}: failed after {duration(seconds)}; the end of {log}:")
        for line in lines:
            self.print(f"    {line}")
