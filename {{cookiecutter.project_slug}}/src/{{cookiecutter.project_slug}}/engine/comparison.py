"""Tables that compare runs, from the files in their folders. Nothing here imports PyTorch, so it starts fast."""

import json
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .commands import find_run, list_runs
from .errors import InputError
from .record import differences, git, read_record, status_of
from .results import best_step, read_config, read_curves, read_test, without_noise

LONGEST = 40  # characters of a value
SECTIONS = ("config", "code", "data", "versions", "hardware", "results")  # of what may differ
DIRTY = "* with changes that were not committed"
WIDE = 160  # characters of a line that no terminal limits


class RunFiles:
    """What a run left in its folder; of a run made by hand perhaps only some of it.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = read_record(folder)
        self.config = read_config(folder)
        self.checkpointed: dict[str, Any] = self.config.get("best_checkpoint") or {}
        self.monitor: str = self.checkpointed.get("monitor") or "val_loss"
        self.mode: str = self.checkpointed.get("mode") or "min"

    @cached_property
    def results(self) -> dict[str, Any]:
        """How the run ended, and its metrics: at best.ckpt, at the last step, and in the last test."""
        curves = read_curves(self.folder, ("val_", self.monitor))
        best = best_step(curves.get(self.monitor, {}), self.mode)
        status, epochs = status_of(self.record) or None, self.record.get("epochs")
        facts: dict[str, Any] = {"status": status, "epochs": epochs, "steps": self.steps}
        for name, curve in sorted(curves.items()):
            facts[f"{name}, at best.ckpt"] = None if best is None else curve.get(best)
            facts[f"{name}, last"] = [*curve.values()][-1]
        return facts | read_test(self.folder)

    @property
    def steps(self) -> int | None:
        """Steps of training; of a run that could not write them, the last one that was logged."""
        logged = (step for curve in read_curves(self.folder).values() for step in curve)
        return self.record.get("steps") or max(logged, default=None)

    def best(self, metric: str, mode: str) -> float | None:
        """Return the best value of a metric, also of one of the last test."""
        curve = read_curves(self.folder, (metric,)).get(metric, {})
        best = best_step(curve, mode)
        return read_test(self.folder).get(metric) if best is None else curve[best]


class Ranking(NamedTuple):
    """Runs by a metric.

    Attributes:
        metric: Its name.
        runs: Each run with the best value of the metric, the best run first.
    """

    metric: str
    runs: list[tuple[RunFiles, float | None]]


def rank(folders: Sequence[Path], root: Path, by: str | None, mode: str | None) -> Ranking:
    """Sort runs by a metric.

    Args:
        folders: Folders of the runs, the newest last.
        root: Folder of all runs, for the message.
        by: Metric to sort by; by default that of the newest run's best.ckpt.
        mode: "min" or "max": which of its values is best; by default as in a run that monitors it.

    Raises:
        InputError: If there is no run, or nothing says which value is best.
    """
    runs = [RunFiles(folder) for folder in folders]
    if not runs:
        raise InputError(f"no run in {root} yet; train first with `fit`")
    metric = by or runs[-1].monitor
    modes = [run.mode for run in runs if run.monitor == metric]
    if not (mode or modes):
        raise InputError(f"--by {metric}: no run monitors it, so say which value is best with --mode min or --mode max")
    mode = mode or modes[-1]
    found = {run: run.best(metric, mode) for run in runs}
    if not any(value is not None for value in found.values()):
        raise InputError(f"--by {metric}: no run logged it")
    sign = 1 if mode == "min" else -1
    order = sorted(runs, key=lambda run: (found[run] is None, sign * (found[run] or 0)))
    return Ranking(metric, [(run, found[run]) for run in order])


def cells_of(run: RunFiles, value: float | None) -> list[str]:
    """Return what the table of all runs says of a run, under `headings`."""
    record = run.record
    code = record.get("git") or {}
    return [
        status_of(record) or "-",
        record.get("started", "")[5:16].replace("T", " "),
        duration(record.get("seconds")),
        f"{text_of(record.get('epochs'))}/{text_of(run.steps)}",
        text_of((record.get("parameters") or {}).get("all")),
        text_of(value),
        code.get("commit", "")[:7] + ("*" if code.get("dirty") else ""),
    ]


def headings(metric: str) -> list[str]:
    """Return the headings of the table of all runs, after that of its name."""
    return ["status", "started", "took", "epochs/\nsteps", "para-\nmeters", metric, "commit"]


def print_runs(root: Path, by: str | None, mode: str | None) -> None:
    """Print a table of all runs, the best first; see `rank`."""
    ranking = rank(list_runs(root), root, by, mode)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)  # so that it fits into 80 columns
    table.add_column("run", overflow="fold")
    for heading in headings(ranking.metric):
        table.add_column(heading, no_wrap=True, justify="left" if heading in ("status", "started") else "right")
    for run, value in ranking.runs:
        table.add_row(escape(run.folder.name), *cells_of(run, value))
    console = table_console()
    console.print(table)
    if any((run.record.get("git") or {}).get("dirty") for run, _ in ranking.runs):
        console.print(DIRTY)


def print_differences(root: Path, one: str, other: str) -> None:
    """Print what differs between two runs.

    Args:
        root: Folder of the runs.
        one: Name of a run, or path of its folder.
        other: The same of the other run.

    Raises:
        InputError: If there is no such run.
    """
    runs = [RunFiles(find_run(root, name)) for name in (one, other)]
    console = table_console()
    for name in SECTIONS:
        facts = [facts_of(run, name) for run in runs]
        lacking = [str(run.folder) for run, known in zip(runs, facts, strict=True) if not known]
        if lacking:
            console.print(f"{name}: not recorded in {' and '.join(lacking)}", highlight=False, soft_wrap=True)
        elif different := differences(*facts):
            table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
            for heading in (name, *(str(run.folder.name) for run in runs)):
                table.add_column(heading, overflow="fold")
            for key, (left, right) in different.items():
                table.add_row(escape(key), *map(escape, texts_of(left, right)))
            console.print(table)
        else:
            console.print(f"{name}: the same", highlight=False)
        if name == "code" and not lacking:
            console.print(changes_of_code(*facts), highlight=False, soft_wrap=True, end="")


def facts_of(run: RunFiles, name: str) -> dict[str, Any]:
    """Return what a run recorded in one of the `SECTIONS`; empty if it recorded nothing."""
    if name == "config":
        return without_noise(run.config) if run.config else {}
    if name == "results":
        return run.results
    found: dict[str, Any] = run.record.get("git" if name == "code" else name) or {}
    return found


def changes_of_code(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Say in a line what changed between two commits, as far as git knows."""
    lines = []
    if one["commit"] != other["commit"]:
        changed = git("diff", "--shortstat", one["commit"], other["commit"])
        lines += [" the commits are not in this repository"] if changed is None else changed.splitlines()
    if one["dirty"] and other["dirty"]:
        lines.append(" both with changes that were not committed, which may differ")
    return "".join(f"code:{line}\n" for line in lines)


def table_console() -> Console:
    """Make a console for tables, wide where no terminal limits it."""
    return Console(width=None if sys.stdout.isatty() else WIDE)


def duration(seconds: float | None) -> str:
    """Write a time in the unit that suits it."""
    if not seconds:
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def text_of(value: Any) -> str:
    """Write a recorded value."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def texts_of(left: Any, right: Any) -> list[str]:
    """Write two values, long ones from shortly before they begin to differ."""
    texts = [text_of(left), text_of(right)]
    pairs = enumerate(zip(*texts, strict=False))
    differ = next((number for number, (one, other) in pairs if one != other), min(map(len, texts)))
    start = max(0, differ - LONGEST // 4) if max(map(len, texts)) > LONGEST else 0
    cut = [f"{'…' if start else ''}{text[start:]}" for text in texts]
    return [text if len(text) <= LONGEST else f"{text[:LONGEST]}…" for text in cut]
