"""The study: which trials there are, who runs them, and which were interrupted. It is shared by all machines."""

import os
import platform
import re
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from ..engine.errors import InputError
from ..engine.record import process_start
from .children import EVERY, kill_orphan
from .space import Parameter, Search, as_text

JOURNAL = "study.journal"
BEAT = 60.0  # seconds between two signs of life of a trial
SIGNED = 5.0  # seconds in which whoever takes a trial has signed it
ATTEMPTS = 3  # to open a storage
SILENCE = 10 * BEAT  # seconds without one after which a trial of another machine counts as interrupted


def open_study(search: Search, name: str, storage: str | None, folder: Path, mode: str) -> optuna.Study:
    """Open the study of this name, or begin it.

    Raises:
        InputError: If the storage cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruners = {
        "median": optuna.pruners.MedianPruner(),
        "hyperband": optuna.pruners.HyperbandPruner(),
        "none": optuna.pruners.NopPruner(),
    }
    for attempt in range(ATTEMPTS):
        try:
            return optuna.create_study(
                storage=storage or _journal(folder / JOURNAL),
                study_name=name,
                direction="minimize" if mode == "min" else "maximize",
                pruner=pruners[search.pruner],
                load_if_exists=True,
            )
        except ImportError as error:  # of the database's driver
            message = str(error).splitlines()[0]
            break
        except Exception as error:  # of SQLAlchemy, a driver or a damaged file
            message = str(error).splitlines()[0]
            if attempt + 1 < ATTEMPTS:
                time.sleep(1)  # another machine may be making the tables at this moment
    raise InputError(f"--storage {without_password(storage or str(folder / JOURNAL))}: {message}")


def _journal(path: Path) -> BaseStorage:
    return JournalStorage(JournalFileBackend(str(path), JournalFileOpenLock(str(path))))


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return what Optuna draws a parameter from; choices that are lists are texts to it."""
    if parameter.choices:
        return CategoricalDistribution([encoded(choice) for choice in parameter.choices])
    if parameter.is_whole:
        low, high = int(parameter.low), int(parameter.high)
        return IntDistribution(low, high, log=parameter.log, step=int(parameter.step or 1))
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def without_password(storage: str) -> str:
    """Return the address of a database without the password that may be in it."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1@", storage)


def encoded(value: Any) -> Any:
    """Return a value as Optuna keeps it."""
    return as_text(value) if isinstance(value, (list, dict)) else value


class Trials:
    """Take trials from a study, as many as are asked for in all, and give back what is interrupted.

    Args:
        study: The study.
        search: What to search.
        defaults: Values of the config, for the first trial; None if they are not in the space.
    """

    def __init__(self, study: optuna.Study, search: Search, defaults: dict[str, Any] | None) -> None:
        self.study = study
        self.search = search
        self._distributions = {name: distribution(parameter) for name, parameter in search.space.items()}
        self._owner = [platform.node(), os.getpid(), process_start(os.getpid())]
        self._beaten = time.monotonic()
        if defaults is not None:
            study.enqueue_trial({name: encoded(value) for name, value in defaults.items()}, skip_if_exists=True)
        self.give_back_lost()

    def counted(self) -> list[FrozenTrial]:
        """List the trials that somebody runs or has ended; not those that were interrupted."""
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state != TrialState.WAITING and not is_interrupted(trial)]

    def take(self) -> Trial | None:
        """Take the next trial; None if all are taken."""
        if len(self.counted()) >= self.search.trials:
            return None
        self.study.sampler = self._sampler()
        trial = self.study.ask(self._distributions)
        trial.set_user_attr("seen", time.time())
        trial.set_user_attr("owner", self._owner)
        before = [other for other in self.counted() if other.number < trial.number]
        if len(before) >= self.search.trials:  # another machine took the last one at the same moment
            self._interrupt(trial._trial_id)
            return None
        return trial

    def tell(self, trial: Trial, state: TrialState, value: float | None, facts: dict[str, Any]) -> None:
        """End a trial with its value and facts, unless another machine took it for lost and ended it."""
        with suppress(UpdateFinishedTrialError):
            for name, fact in facts.items():
                trial.set_user_attr(name, fact)
            self.study.tell(trial, value, state, skip_if_finished=True)

    def give_back(self, trial: FrozenTrial | Trial) -> None:
        """End an interrupted trial; whoever comes next runs its parameters again."""
        if self._interrupt(trial._trial_id):
            self.study.enqueue_trial(trial.params, user_attrs={"repeats": trial.number})

    def give_back_lost(self) -> None:
        """Give back the trials of processes that are gone, and end what they have left running."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if self._is_lost(trial):
                self.give_back(trial)

    def beat(self, trials: list[Trial]) -> bool:
        """Give a sign of life every minute, and look for lost trials; tell whether it was time to."""
        if time.monotonic() - self._beaten < BEAT:
            return False
        self._beaten = time.monotonic()
        for trial in trials:
            with suppress(UpdateFinishedTrialError):
                trial.set_user_attr("seen", time.time())
        self.give_back_lost()
        return True

    def _sampler(self) -> BaseSampler:
        """Make a sampler that draws other numbers for every trial, also where a search continues."""
        count = len(self.study.get_trials(deepcopy=False))
        return TPESampler(seed=zlib.crc32(f"{self.search.seed}, {count}".encode()))

    def _is_lost(self, trial: FrozenTrial) -> bool:
        trial = self._with_owner(trial)
        if trial.state != TrialState.RUNNING:
            return False
        if "owner" not in trial.user_attrs:
            return True
        host, pid, started = trial.user_attrs["owner"]
        if host == platform.node() and started is not None:
            if process_start(pid) == started:
                return False
            kill_orphan(*trial.user_attrs.get("child", [0, None]))
            return True
        return time.time() - trial.user_attrs.get("seen", 0.0) > SILENCE

    def _with_owner(self, trial: FrozenTrial) -> FrozenTrial:
        """Wait for a trial that was taken a moment ago to be signed; a process killed in that moment never signs."""
        deadline = time.monotonic() + SIGNED
        while "owner" not in trial.user_attrs and trial.state == TrialState.RUNNING and time.monotonic() < deadline:
            time.sleep(EVERY)
            trial = self.study.get_trials(deepcopy=False)[trial.number]
        return trial

    def _interrupt(self, trial_id: int) -> bool:
        """End a trial as interrupted; tell whether nobody else has ended it."""
        try:
            self.study._storage.set_trial_user_attr(trial_id, "interrupted", True)
            return self.study._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False


def is_interrupted(trial: FrozenTrial) -> bool:
    """Tell whether a trial was ended before its time, and does not count."""
    return bool(trial.user_attrs.get("interrupted"))


def folder_name(number: int) -> str:
    """Name the folder of a trial."""
    return f"trial-{number:03}"
