"""What `doctor` finds, as a table or as JSON."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class Finding(NamedTuple):
    """A row of the table.

    Attributes:
        what: What was looked at.
        found: What was found.
        do: What to do, if something is wrong or could be better.
        fatal: Whether no run can train like this.
    """

    what: str
    found: str
    do: str = ""
    fatal: bool = False


def size(count: float) -> str:
    """Write a number of bytes in decimal units, as disks and networks are sold."""
    for unit in UNITS:
        if count < 999.5 or unit == UNITS[-1]:
            break
        count /= 1000
    return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"


def figure(value: float) -> str:
    """Write a number with three digits, or all digits of a larger one."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def time(seconds: float) -> str:
    """Write a time in the unit that suits it."""
    for limit, divisor, unit in ((1, 0.001, "ms"), (120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{figure(seconds / divisor)} {unit}"
    return f"{seconds / 86_400:,.0f} days"


def grid(rows: Sequence[Sequence[str]], *columns: str, title: str | None = None, right: int | None = None) -> Table:
    """Make a table of plain text, in which square brackets are not markup.

    Args:
        rows: Cells.
        columns: Names of the columns.
        title: Title of the table.
        right: Number of the first column that is aligned to the right.
    """
    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left")
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if right is None or number < right else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def print_findings(findings: Sequence[Finding], tables: Sequence[Table], lines: Sequence[str]) -> None:
    """Print one row per finding, further tables, and lines of text."""
    console = Console()
    for table in (grid([finding[:3] for finding in findings], "what", "found", "what to do"), *tables):
        console.print(table)
    for line in lines:
        console.print(Text(line))


def as_json(findings: Sequence[Finding], plan: dict[str, Any] | None) -> str:
    """Return the same for other programs."""
    content: dict[str, Any] = {
        "can_train": not any(finding.fatal for finding in findings),
        "findings": [finding._asdict() for finding in findings],
    }
    return json.dumps(content | ({} if plan is None else {"plan": plan}), indent=2)
