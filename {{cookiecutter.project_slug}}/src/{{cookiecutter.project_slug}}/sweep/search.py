"""A search: trials that Optuna proposes, each a process of `fit`, judged by its metrics.csv."""

import math
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from optuna import Study
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState

from ..engine.comparison import duration, text_of
from ..engine.errors import InputError, listed
from ..engine.results import best_step, read_curves
from .check import Checked, check_options, make_sweep_folder
from .children import Child, last_lines, run_children
from .outcome import Outcome
from .progress import Progress
from .space import Search, as_options, as_text, read_search
from .study import JOURNAL, Trials, encoded, folder_name, open_study, without_password

SHOWN = 10  # lines of the log of a trial that failed


def run_search(given: Namespace, options: Sequence[str]) -> int:
    """Run the search, print its results, and return the exit status.

    Args:
        given: The options of `sweep`.
        options: The options of `fit`.

    Raises:
        InputError: If something is wrong with them.
    """
    search = _settings(given, options)
    name = given.name or "sweep"
    checked = check_options(
        search.fit,
        list(search.space),
        [as_options({name: parameter.ends[end] for name, parameter in search.space.items()}) for end in (0, 1)],
    )
    folder = make_sweep_folder(given.root, name)
    study = open_study(search, name, given.storage, folder, checked.mode)
    _require_same(study, search, checked, folder, given.storage)
    outside = [name for name, parameter in search.space.items() if not parameter.contains(checked.defaults[name])]
    if outside:
        described = listed([f"{name} {as_text(checked.defaults[name])}" for name in outside])
        print(f"the defaults are not the first trial, since the space does not hold {described}")
    trials = Trials(study, search, None if outside else checked.defaults)
    with Progress(search.trials) as progress:
        work = _Work(trials, folder, checked, progress)
        signum = run_children(work, given.jobs, checked.gpus)
    Outcome(study, search, checked, folder, given.storage).write_and_print()
    if signum:
        return 128 + signum
    return 0 if any(trial.state == TrialState.COMPLETE for trial in trials.counted()) or not search.trials else 1


def _settings(given: Namespace, options: Sequence[str]) -> Search:
    """Let the command line win over the file."""
    search = read_search(given.space)
    if given.trials is not None and given.trials < 0:
        raise InputError(f"--trials {given.trials}: must be 0 or more")
    metric, mode = given.metric or search.metric, given.mode or search.mode
    judged = {"monitor": metric, "mode": mode}
    if metric and not mode:
        raise InputError(f"metric {metric}: say which of its values is best, with --mode min or --mode max")
    chosen = [f"--best_checkpoint.{name}={value}" for name, value in judged.items() if value]
    trials = search.trials if given.trials is None else given.trials
    return replace(search, trials=trials, fit=[*search.fit, *options, *chosen])


def _require_same(study: Study, search: Search, checked: Checked, folder: Path, storage: str | None) -> None:
    """Continue a search only with the space and the options with which it began."""
    space = {name: encoded(repr(parameter)) for name, parameter in search.space.items()}
    asked = {"space": space, "config": checked.config_sha256}
    begun = study.user_attrs.get("asked")
    if begun is None:
        if any(not path.name.startswith(JOURNAL) for path in folder.iterdir()):
            raise InputError(f"{folder} holds something else; choose another --name, or remove the folder")
        study.set_user_attr("asked", asked)
    elif begun != asked:
        what = "another space" if begun["space"] != space else "other options or another configs/train.yaml"
        where = f"{study.study_name} in {without_password(storage)}" if storage else str(folder)
        raise InputError(f"{where} was begun with {what}; choose another --name{'' if storage else ', or remove it'}")


class _Work:
    """The trials, as children."""

    def __init__(self, trials: Trials, folder: Path, checked: Checked, progress: Progress) -> None:
        self._trials = trials
        self._folder = folder
        self._checked = checked
        self._progress = progress
        self._running: dict[Child, Trial] = {}
        self._pruned: set[Child] = set()
        self._read: dict[Child, tuple[int, int]] = {}  # modification and number of values of metrics.csv
        self._look = True  # whether there may be a trial to take
        self._show()

    def start(self, environment: dict[str, str]) -> Child | None:
        trial = self._trials.take() if self._look else None
        self._look = trial is not None
        if trial is None:
            return None
        name = folder_name(trial.number)
        arguments = ["fit", *self._trials.search.fit, *as_options(trial.params)]
        own = ["--trainer.default_root_dir", str(self._folder), "--name", name]
        child = Child("train", [*arguments, *own], self._folder / f"{name}.log", environment)
        self._running[child] = trial
        trial.set_user_attr("child", child.identity)
        self._show()
        return child

    def watch(self, child: Child) -> None:
        self._look |= self._trials.beat(list(self._running.values()))
        trial = self._running[child]
        path = self._folder / folder_name(trial.number) / "metrics.csv"
        if not path.exists() or (changed := path.stat().st_mtime_ns) == self._read.get(child, (0, 0))[0]:
            return
        values = [value for step, value in self._curve(trial).items() if step]  # without the untrained model's
        known = self._read.get(child, (0, 0))[1]
        with suppress(UpdateFinishedTrialError):  # another machine took this one for lost
            # Trials with other batch sizes have other steps, so count validations.
            for number, value in enumerate(values[known:], start=known + 1):
                if math.isfinite(value):
                    trial.report(value, number)
        self._read[child] = (changed, len(values))
        if len(values) > known and child not in self._pruned and trial.should_prune():
            self._pruned.add(child)
            child.stop()

    def end(self, child: Child) -> None:
        trial = self._running.pop(child)
        curve = self._curve(trial)
        best = best_step(curve, self._checked.mode)
        reason = child.failure()
        if reason and child in self._pruned:
            state, value = TrialState.PRUNED, None
        elif reason or best is None or not math.isfinite(curve[best]):
            state, value = TrialState.FAIL, None
            reason = reason or f"logged no {self._checked.metric}"
        else:
            state, value = TrialState.COMPLETE, curve[best]
        self._trials.tell(trial, state, value, {"seconds": round(child.seconds, 1), "reason": reason})
        name = folder_name(trial.number)
        child.keep_log(self._folder / name)
        if state == TrialState.FAIL:
            self._progress.print_failure(name, last_lines(child.log, SHOWN), child.seconds, child.log)
        else:
            judged = f"{self._checked.metric} {value:.6g}" if value is not None else "pruned"
            parameters = ", ".join(f"{name} {text_of(value)}" for name, value in trial.params.items())
            self._progress.print(f"{name}: {judged}, {duration(child.seconds)}, {parameters}")
        self._show()
        self._look = True

    def interrupt(self, child: Child) -> None:
        trial = self._running[child]
        self._trials.give_back(trial)
        name = folder_name(trial.number)
        self._progress.print(f"{name}: interrupted; the same command runs it again")
        child.keep_log(self._folder / name)

    def _show(self) -> None:
        trials = self._trials.counted()
        values = [trial.value for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
        best = (min if self._checked.mode == "min" else max)(values, default=None)
        running = sum(trial.state == TrialState.RUNNING for trial in trials)
        found = "" if best is None else f", best {self._checked.metric} {best:.6g}"
        self._progress.update(len(trials) - running, f"trials, {running} running{found}")

    def _curve(self, trial: Trial) -> dict[int, float]:
        metric = self._checked.metric
        return read_curves(self._folder / folder_name(trial.number), (metric,)).get(metric, {})
