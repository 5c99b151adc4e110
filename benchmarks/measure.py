"""Run programs in alternation, in child processes, and compare their times."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from cookiecutter.main import cookiecutter

REPO = Path(__file__).parents[1]
HERE = Path(__file__).parent
NAME = "speed_project"  # of all rendered projects
CLOCKS = ("wall", "cpu")
Result = TypeVar("Result")


class Run(NamedTuple):
    """One measured run.

    Args:
        wall: Seconds of wall time.
        cpu: Seconds of processor time, of children too; NaN where the system does not tell.
        loss: Validation loss at the end of a training; NaN for whole processes.
        steps: Optimizer steps of a training.
    """

    wall: float
    cpu: float
    loss: float = float("nan")
    steps: int = 0


class Program(NamedTuple):
    """A program to measure.

    Args:
        command: What to run.
        folder: Where to run it.
        environment: Environment variables, in addition to those of this process.
        status: Exit status that it must have.
    """

    command: Sequence[str | Path]
    folder: Path
    environment: Mapping[str, str]
    status: int = 0

    def process(self) -> Run:
        """Run it, and measure the whole process.

        Raises:
            RuntimeError: If it ends with another status.
        """
        # Without settings of the caller's that users do not have, such as PYTHONDONTWRITEBYTECODE
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("LIT_TEMPLATE_", "PYTHON"))
        }
        # Both sides run with one thread, or as many as the caller of this program says.
        threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        terminal = {"COLUMNS": "100", "LINES": "40", "TERM": "xterm-256color"}
        environment |= threads | terminal | dict(self.environment)
        began = time.perf_counter()
        status, cpu, output = _run_in_terminal(self.command, self.folder, environment)
        wall = time.perf_counter() - began
        if status != self.status:
            raise RuntimeError(f"{' '.join(map(str, self.command))} ended with status {status}:\n{output[-3000:]}")
        return Run(wall, cpu)

    def training(self) -> Run:
        """Run it, and return what its `Stopwatch` has measured."""
        return Run(**self.result())

    def result(self) -> Any:
        """Run it, and return the JSON it writes to the file that the environment names."""
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "result.json"
            self._replace(environment={**self.environment, "SPEED_RESULT": str(result)}).process()
            return json.loads(result.read_text())


def _run_in_terminal(
    command: Sequence[str | Path], folder: Path, environment: dict[str, str]
) -> tuple[int, float, str]:
    """Run a command in a terminal, as people do: progress bars are part of what is measured.

    Returns:
        Its exit status, processor time and output.
    """
    if os.name == "nt":
        result = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        return result.returncode, float("nan"), result.stdout + result.stderr
    parent, terminal = os.openpty()
    child = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    output = b""
    while True:
        try:
            part = os.read(parent, 1 << 16)
        except OSError:  # Linux's end of file
            break
        if not part:
            break
        output = (output + part)[-(1 << 16) :]
    os.close(parent)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, usage.ru_utime + usage.ru_stime, output.decode(errors="replace")


def render(folder: Path, **answers: Any) -> Path:
    """Render a project without hooks."""
    context = {"project_slug": NAME, **answers}
    made = cookiecutter(
        str(REPO),
        no_input=True,
        extra_context=context,
        output_dir=str(folder),
        accept_hooks=False,
        default_config=True,
    )
    return Path(made)


def fit(project: Path, *options: str, switch: str = "", timer: str = "timed.Timed") -> Program:
    """Make the program that trains a rendered project by its own command, with its training timed.

    Args:
        project: The project.
        options: Options of `fit`.
        switch: Switch of switches.py to apply.
        timer: Callback that measures it.
    """
    command = [sys.executable, "-m", f"{NAME}.train", "fit", *options, f"--trainer.callbacks+={timer}"]
    return Program(command, project, {**paths(project), "SPEED_SWITCH": switch})


def paths(project: Path) -> dict[str, str]:
    """Return the environment in which a rendered project and the programs written by hand can be imported."""
    return {"PYTHONPATH": os.pathsep.join(map(str, (project / "src", HERE, HERE / "by_hand")))}


def alternate(
    sides: Mapping[str, Callable[[], Result]], rounds: int, keep_order: bool = False
) -> dict[str, list[Result]]:
    """Run all sides in every round, each time another one first unless the order matters."""
    runs: dict[str, list[Result]] = {name: [] for name in sides}
    for number in range(rounds):
        first = 0 if keep_order else number % len(sides)
        names = list(sides)
        for name in names[first:] + names[:first]:
            runs[name].append(sides[name]())
    return runs


def ratios(runs: Sequence[Run], others: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Divide times of runs by those of others of the same round, by either clock.

    Returns:
        By clock: the median, the least and the greatest ratio, and their interquartile range as `spread`.
    """
    found = {}
    for clock in CLOCKS:
        each = sorted(getattr(one, clock) / getattr(other, clock) for one, other in zip(runs, others, strict=True))
        low, _, high = statistics.quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
        found[clock] = {
            "median": round(statistics.median(each), 4),
            "least": round(each[0], 4),
            "greatest": round(each[-1], 4),
            "spread": round(high - low, 4),
        }
    return found
