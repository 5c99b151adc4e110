"""Repeat a training with several seeds, or on the folds of a cross-validation: mean and spread of every metric."""

import csv
import json
import os
import platform
import shutil
import statistics
from argparse import Namespace
from collections.abc import Collection, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from ..engine.comparison import RunFiles, duration, table_console, text_of
from ..engine.errors import InputError
from ..engine.record import process_start, read_record
from ..engine.results import best_step, read_curves, read_test
from .check import Checked, check_options, make_sweep_folder
from .children import Child, kill_orphan, last_lines, run_children
from .progress import Progress

FILE = "sweep.json"
SCORES = "scores.csv"
SHOWN = 10  # lines of the log of a child that failed


def run_repeats(given: Namespace, options: Sequence[str]) -> int:
    """Train and test once per seed or fold, print mean and spread, and return the exit status.

    Args:
        given: The options of `sweep`.
        options: The options of `fit`.

    Raises:
        InputError: If something is wrong with them.
    """
    for option in ("trials", "storage", "metric", "mode"):
        if getattr(given, option) is not None:
            raise InputError(f"--{option}: has no effect with --seeds or --folds; drop it")
    kind = "seeds" if given.seeds else "folds"
    members = _seeds(given.seeds) if given.seeds else _folds(given.folds)
    first = next(iter(members.values()))
    runs = {str(given.root / (given.name or kind) / name): own for name, own in members.items()}
    checked = check_options(
        options,
        ["data.folds", "data.fold"] if kind == "folds" else [],
        extra=first,
        runs={run: own for run, own in runs.items() if is_trained(Path(run))},
    )
    folder = make_sweep_folder(given.root, given.name or kind)
    asked = {"kind": kind, "folds": given.folds, "config_sha256": checked.config_sha256}
    _claim(folder, asked, members)
    with Progress(len(members)) as progress:
        work = _Work(folder, members, options, checked.metric, progress)
        signum = run_children(work, given.jobs, checked.gpus)
    _write_and_print(folder, members, checked, asked | {"fit": list(options)}, work.reasons)
    if signum:
        return 128 + signum
    return 1 if work.reasons else 0


def _seeds(seeds: Sequence[int]) -> dict[str, list[str]]:
    for seed in seeds:
        if not 0 <= seed < 2**32 or seeds.count(seed) > 1:
            raise InputError(f"--seeds {seed}: each must be from 0 to {2**32 - 1}, and given once")
    return {f"seed-{seed}": ["--seed_everything", str(seed)] for seed in seeds}


def _folds(folds: int) -> dict[str, list[str]]:
    if folds < 2:
        raise InputError(f"--folds {folds}: must be 2 or more")
    return {f"fold-{fold}": ["--data.folds", str(folds), "--data.fold", str(fold)] for fold in range(folds)}


def _claim(folder: Path, asked: dict[str, Any], members: Collection[str]) -> None:
    """Take the folder for this process, and end what a process before it has left running.

    Seeds or folds that were trained one by one, as by the tasks of a job array, are taken over.

    Raises:
        InputError: If another process works in it, or it was begun with other options.
    """
    path = folder / FILE
    begun = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    host, pid, started = begun.get("process") or [None, 0, None]
    if host == platform.node() and started is not None and process_start(pid) == started != process_start(os.getpid()):
        raise InputError(f"{folder}: process {pid} is working there; wait for it, or choose another --name")
    if begun and any(begun.get(name) != value for name, value in asked.items()):
        raise InputError(f"{folder} was begun with other options; choose another --name, or remove the folder")
    if not begun and any(path.name not in members for path in folder.iterdir()):
        raise InputError(f"{folder} holds something else; choose another --name, or remove the folder")
    for run in folder.glob("*/"):
        session = (read_record(run).get("sessions") or [{}])[-1]
        if session.get("status") == "running" and session.get("host") == platform.node():
            kill_orphan(session["pid"], session["process_started"])
    process = [platform.node(), os.getpid(), process_start(os.getpid())]
    path.write_text(json.dumps(begun | asked | {"process": process}), encoding="utf-8")


class _Work:
    """The seeds or folds, as children."""

    def __init__(
        self, folder: Path, members: dict[str, list[str]], options: Sequence[str], metric: str, progress: Progress
    ) -> None:
        self.reasons: dict[str, str] = {}
        self._metric = metric
        self._folder = folder
        self._options = options
        self._members = members
        self._progress = progress
        self._left = [name for name in members if not (is_trained(folder / name) and read_test(folder / name))]
        self._running: dict[Child, str] = {}
        self._show()

    def start(self, environment: dict[str, str]) -> Child | None:
        if not self._left:
            return None
        name = self._left.pop(0)
        run = self._folder / name
        if not is_trained(run):
            shutil.rmtree(run, ignore_errors=True)
        arguments = [str(run), *self._options, *self._members[name]]
        child = Child("sweep.fit_and_test", arguments, self._folder / f"{name}.log", environment)
        self._running[child] = name
        self._show()
        return child

    def watch(self, child: Child) -> None:
        """Nothing is judged before the end."""

    def end(self, child: Child) -> None:
        name = self._running.pop(child)
        reason = child.failure()
        child.keep_log(self._folder / name)
        if reason:
            self.reasons[name] = f"test: {reason}" if is_trained(self._folder / name) else reason
            self._progress.print_failure(name, last_lines(child.log, SHOWN), child.seconds, child.log)
        else:
            both = (self._metric, self._metric.replace("val_", "test_", 1))
            found = [f"{key} {value:.6g}" for key, value in scores(self._folder / name).items() if key in both]
            self._progress.print(", ".join([f"{name}: {duration(child.seconds)}", *found]))
        self._show()

    def interrupt(self, child: Child) -> None:
        name = self._running[child]
        self.reasons[name] = "interrupted"
        self._progress.print(f"{name}: interrupted; the same command runs it again")
        child.keep_log(self._folder / name)

    def _show(self) -> None:
        waiting = {*self._left, *self._running.values()}
        self._progress.update(len(self._members) - len(waiting), f"{len(self._running)} running")


def is_trained(run: Path) -> bool:
    """Tell whether a run has finished its training."""
    return read_record(run).get("status") == "finished"


def scores(run: Path) -> dict[str, float]:
    """Return the metrics of a run: of the validation at its best checkpoint, and of the test."""
    made = RunFiles(run)
    curves = read_curves(run, ("val_", made.monitor))
    best = best_step(curves.get(made.monitor, {}), made.mode)
    validated = {name: curve[best] for name, curve in sorted(curves.items()) if best in curve}
    return validated | dict(sorted(read_test(run).items()))


def _write_and_print(
    folder: Path, members: Collection[str], checked: Checked, facts: dict[str, Any], reasons: dict[str, str]
) -> None:
    """Write scores.csv and sweep.json, print the table, and the folder as the last line."""
    each = {name: scores(folder / name) for name in members if is_trained(folder / name)}
    metrics = list(dict.fromkeys(metric for found in each.values() for metric in found))
    values = {metric: {name: found[metric] for name, found in each.items() if metric in found} for metric in metrics}
    spread = {
        metric: (statistics.mean(found.values()), statistics.stdev(found.values()) if len(found) > 1 else None)
        for metric, found in values.items()
    }
    with (folder / SCORES).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["metric", "mean", "std", "n", *members])
        for metric, found in values.items():
            writer.writerow([metric, *spread[metric], len(found), *(found.get(name) for name in members)])
    facts = facts | {
        "metric of best.ckpt": checked.metric,
        "runs": {name: reasons.get(name, "finished") for name in members},
        "written": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), "torch": version("torch"), "lightning": version("lightning")},
    }
    (folder / FILE).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("metric")
    for heading in ("mean", "std", "n"):
        table.add_column(heading, justify="right")
    for metric, found in values.items():
        table.add_row(metric, *map(text_of, spread[metric]), str(len(found)))
    console = table_console()
    if spread:
        console.print(table)
    lines = [f"{name}: {reason}" for name, reason in reasons.items()]
    if reasons:
        lines.append("the same command runs these again")
    for line in [*lines, str(folder)]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
