"""Child processes, side by side: each is an ordinary command line of this project with its output in a file."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, Self

from ..engine.commands import PACKAGE
from ..engine.record import process_start

EVERY = 0.1  # seconds between two looks at the children
TRACEBACK = "Traceback (most recent call last):"
GRACE = 30.0  # seconds in which a child can finish its step and save before it is killed


class Child:
    """A process in a session of its own, so that Ctrl-C in a terminal reaches the parent alone.

    Args:
        module: Module of this package to run.
        arguments: Its command line.
        log: File for its output.
        environment: Variables to set.
    """

    def __init__(self, module: str, arguments: Sequence[str], log: Path, environment: dict[str, str]) -> None:
        self.log = log
        self.started = time.monotonic()
        self._kill_at = float("inf")
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"{PACKAGE}.{module}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | environment,
            )

    @property
    def identity(self) -> list[Any]:
        """Its number and when it started, which together are unique on a machine."""
        return [self.process.pid, process_start(self.process.pid)]

    @property
    def seconds(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started

    def stop(self) -> None:
        """Ask it to finish its step, save and exit."""
        self.process.terminate()
        self._kill_at = time.monotonic() + GRACE

    def has_ended(self) -> bool:
        """Tell whether it has; what it has started ends with it."""
        if time.monotonic() > self._kill_at:
            kill_group(self.process.pid)
        if self.process.poll() is None:
            return False
        if self.process.returncode != 0:
            kill_group(self.process.pid)
        return True

    def keep_log(self, run: Path) -> None:
        """Move the log into the run's folder, if the child has made it."""
        if run.exists():
            self.log = self.log.replace(run / "output.log")

    def has_refused(self) -> bool:
        """Tell whether its last line says what the user can fix."""
        return any(line.startswith("error: ") for line in last_lines(self.log, 1))

    def failure(self) -> str | None:
        """Return the reason why it failed in one line; None if it did not."""
        status = self.process.returncode
        if status == 0:
            return None
        if status < 0:
            return f"killed by {signal.Signals(-status).name}"
        lines = last_lines(self.log)
        if TRACEBACK in lines and not self.has_refused():
            raised = lines[lines.index(TRACEBACK) + 1 :]  # the first of a chain is the cause
            return next((line for line in raised if not line.startswith(" ")), lines[-1])
        return lines[-1].removeprefix("error: ") if lines else f"exit status {status}"


def kill_group(pid: int) -> None:
    """Kill a child and what it has started."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)  # ends a process on Windows


def kill_orphan(pid: int, started: str | None) -> None:
    """Kill a child whose parent was killed, if it is still running."""
    if started is not None and process_start(pid) == started:
        kill_group(pid)
        deadline = time.monotonic() + 5  # a dead one may keep its number, where nobody waits for orphans
        while process_start(pid) == started and time.monotonic() < deadline:
            time.sleep(EVERY)


def last_lines(log: Path, count: int = 0) -> list[str]:
    """Return the last lines of a log that say something; all of them by default."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return [line.rstrip() for line in lines if line.strip()][-count:]


class Signals:
    """Remember signals that end a process, so that the children are ended before this one.

    SIGUSR1 is Slurm's warning before the time limit, which reaches the children too.
    """

    def __init__(self) -> None:
        self.signum = 0
        self.again = False

    def __enter__(self) -> Self:
        names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]
        self._before = {name: signal.signal(getattr(signal, name), self._note) for name in names}
        return self

    def __exit__(self, *error: object) -> None:
        for name, handler in self._before.items():
            signal.signal(getattr(signal, name), handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.again = bool(self.signum)
        self.signum = signum


class Work(Protocol):
    """What `run_children` runs."""

    def start(self, environment: dict[str, str]) -> Child | None:
        """Start the next child; None if there is none at the moment."""

    def watch(self, child: Child) -> None:
        """Look at a running child."""

    def end(self, child: Child) -> None:
        """Note what became of a child."""

    def interrupt(self, child: Child) -> None:
        """Note that a child was ended before its time."""


def run_children(work: Work, jobs: int, gpus: int) -> int:
    """Run children side by side until there are no more, or a signal ends them.

    Args:
        work: What to run.
        jobs: How many children run at a time.
        gpus: Number of GPUs, which the children share out.

    Returns:
        The signal's number, or 0.
    """
    running: dict[int, Child] = {}  # by slot
    environments = [share_devices(slot, jobs, gpus) for slot in range(jobs)]
    with Signals() as signals:
        try:
            while not signals.signum:
                for slot, child in list(running.items()):
                    ended = child.has_ended()  # before the last look at what it wrote
                    work.watch(child)
                    if ended and not signals.signum:  # else the signal may have ended it
                        del running[slot]
                        work.end(child)
                for slot in sorted(set(range(jobs)) - running.keys()):
                    if signals.signum or (next_child := work.start(environments[slot])) is None:
                        break
                    running[slot] = next_child
                if not running:
                    break
                time.sleep(EVERY)
        finally:
            _end_all(list(running.values()), signals)
            for child in running.values():
                work.watch(child)
                if child.process.returncode == 0:  # it finished in the meantime
                    work.end(child)
                else:
                    work.interrupt(child)
        return signals.signum


def run_child(module: str, arguments: Sequence[str], log: Path) -> Child:
    """Run one child to its end.

    Raises:
        SystemExit: If a signal ended it.
    """
    with Signals() as signals:
        child = Child(module, arguments, log, {})
        while not child.has_ended():
            if signals.signum:
                _end_all([child], signals)
            time.sleep(EVERY)
    if signals.signum:
        sys.exit(128 + signals.signum)
    return child


def _end_all(children: Sequence[Child], signals: Signals) -> None:
    """Let children finish their step; a second signal kills them."""
    for child in children:
        child.stop()
    while not all([child.has_ended() for child in children]):
        if signals.again:
            for child in children:
                kill_group(child.process.pid)
        time.sleep(EVERY)


def share_devices(slot: int, jobs: int, gpus: int) -> dict[str, str]:
    """Return the variables that give a job its GPUs, or its share of the cores, so that threads do not wait for others.

    Args:
        slot: Number of the job, from 0.
        jobs: Number of jobs.
        gpus: Number of GPUs of all jobs.
    """
    if jobs == 1:
        return {}
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        devices, share = visible.split(","), max(1, gpus // jobs)
        first = slot * share % len(devices)
        return {"CUDA_VISIBLE_DEVICES": ",".join(devices[first : first + share])}
    return {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))}
