"""What a search leaves: a table, pictures, the best parameters as an overlay, and how they were found."""

import csv
import json
import platform
from collections import Counter
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from ..engine.commands import PACKAGE
from ..engine.comparison import duration, table_console, text_of
from .check import Checked
from .pictures import draw_pictures
from .space import Search, as_overlay
from .study import JOURNAL, encoded, folder_name, is_interrupted, without_password

BEST = "best.yaml"
FILE = "sweep.json"
VERSIONS = ("optuna", "torch", "lightning")
STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


class Outcome:
    """The trials of a study, the best first.

    Args:
        study: The study.
        search: What was searched.
        checked: What `fit` does without the parameters.
        folder: The sweep's folder.
        storage: Address of the study's database; None for the file in the folder.
    """

    def __init__(
        self, study: optuna.Study, search: Search, checked: Checked, folder: Path, storage: str | None
    ) -> None:
        self._study = study
        self._search = search
        self._checked = checked
        self._folder = folder
        self._storage = storage
        everything = [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]
        sign = 1 if checked.mode == "min" else -1
        order = list(STATES)
        self._trials = sorted(
            (trial for trial in everything if not is_interrupted(trial)),
            key=lambda trial: (
                order.index(trial.state),
                sign * (trial.value or 0) if trial.state == TrialState.COMPLETE else 0,
                trial.number,
            ),
        )
        self._interrupted = [trial for trial in everything if is_interrupted(trial)]
        self._finished = [trial for trial in self._trials if trial.state == TrialState.COMPLETE]
        self._best = self._finished[0] if self._finished else None

    def write_and_print(self) -> None:
        """Write the files, print the table, and the folder as the last line."""
        self._write_trials()
        self._write_facts()
        console = table_console()
        if self._trials:
            console.print(self._table())
        if self._best:
            self._write_best(self._best)
            draw_pictures(self._study, self._finished, self._search.space, self._checked.metric, self._folder)
        counts = ", ".join(f"{count} {state}" for state, count in self._counts().items() if count)
        left = self._search.trials - len(self._trials)
        lines = [
            f"trials: {counts or 'none'}" + (f"; the same command runs the {left} that are left" if left > 0 else "")
        ]
        if self._best:
            lines.append(f"train with the best parameters: {self._command()}")
        for line in [*lines, str(self._folder)]:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _counts(self) -> dict[str, int]:
        found = Counter(trial.state for trial in self._trials)
        return {name: found[state] for state, name in STATES.items()} | {"interrupted": len(self._interrupted)}

    def _command(self) -> str:
        return f"python -m {PACKAGE}.train fit --config {(self._folder / BEST).as_posix()}"

    def _parameters(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return the parameters of a trial as the file of the search has them."""
        found: dict[str, Any] = {}
        for name, value in trial.params.items():
            choices = self._search.space[name].choices
            found[name] = next((choice for choice in choices if encoded(choice) == value), value)
        return found

    def _table(self) -> Table:
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        reasons = any(map(_reason, self._trials))
        for heading in ("trial", "status", "took", self._checked.metric, *self._search.space):
            wraps = heading in self._search.space
            table.add_column(
                heading.replace(".", ".\n") if wraps else heading,
                no_wrap=not wraps,
                overflow="fold",
                justify="left" if heading in ("trial", "status") else "right",
            )
        if reasons:
            table.add_column("reason", overflow="fold")
        for trial in self._trials:
            parameters = self._parameters(trial)
            table.add_row(
                folder_name(trial.number),
                STATES[trial.state],
                duration(trial.user_attrs.get("seconds")),
                text_of(trial.value if trial.state == TrialState.COMPLETE else None),
                *(escape(text_of(parameters.get(name))) for name in self._search.space),
                *([escape(_reason(trial))] if reasons else []),
            )
        return table

    def _write_trials(self) -> None:
        names = ("trial", "status", "seconds", self._checked.metric, *self._search.space, "reason")
        with (self._folder / "trials.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            for trial in self._trials:
                parameters = self._parameters(trial)
                value = trial.value if trial.state == TrialState.COMPLETE else None
                head = [folder_name(trial.number), STATES[trial.state], trial.user_attrs.get("seconds"), value]
                cells = [encoded(parameters.get(name)) for name in self._search.space]
                writer.writerow([*head, *cells, _reason(trial)])

    def _write_best(self, best: FrozenTrial) -> None:
        overlay = as_overlay(self._parameters(best), self._checked.paths, self._checked.overlay)
        head = f"# The parameters of {folder_name(best.number)}: {self._checked.metric} {best.value!r}\n"
        text = yaml.safe_dump(overlay, sort_keys=False, allow_unicode=True)
        (self._folder / BEST).write_text(f"{head}#   {self._command()}\n{text}", encoding="utf-8")

    def _write_facts(self) -> None:
        best = self._best
        sampler, pruner = "TPESampler", type(self._study.pruner).__name__
        space = {name: parameter.described() for name, parameter in self._search.space.items()}
        facts = {
            "metric": self._checked.metric,
            "mode": self._checked.mode,
            "best": best and {"trial": folder_name(best.number), "value": best.value, **self._parameters(best)},
            "trials": {"asked": self._search.trials, **self._counts()},
            "space": space,
            "method": {"sampler": sampler, "pruner": pruner, "seed": self._search.seed},
            "fit": self._search.fit,
            "config_sha256": self._checked.config_sha256,
            "storage": without_password(self._storage) if self._storage else JOURNAL,
            "written": datetime.now().astimezone().isoformat(timespec="seconds"),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
        }
        (self._folder / FILE).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _reason(trial: FrozenTrial) -> str:
    """Return why a trial failed; nothing for the others."""
    return trial.user_attrs.get("reason") or "" if trial.state == TrialState.FAIL else ""
