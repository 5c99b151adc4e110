"""Runs that are killed, and the comparison of what they leave with an uninterrupted run.

A run is a child process that ends itself at a hook of Lightning. It is forked from a process that has imported
everything and started no threads, unlike that of pytest.
"""

import csv
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from conftest import QUICK, read_checkpoint
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from {{ cookiecutter.project_slug }}.engine.cli import run_cli
from {{ cookiecutter.project_slug }}.train import FACTS

TIMEOUT = 120  # seconds, after which a run that hangs is killed

INTERVAL, ACCUMULATE = 2, 2
TRAINING = [
    *QUICK,
    *("--trainer.logger", "false"),  # a tracker's process would outlive a killed run, and metrics.csv is always written
    *("--trainer.max_epochs", "3", "--trainer.limit_train_batches", "7", "--trainer.enable_model_summary", "false"),
    *("--trainer.accumulate_grad_batches", str(ACCUMULATE), "--last_checkpoint.every_n_steps", str(INTERVAL)),
]


def child(test: Any) -> Any:
    """Mark a test that trains in a child process: it is slow, and needs `os.fork`, which Windows does not have."""
    return pytest.mark.slow(pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")(test))


class Record(Callback):
    """Append every training loss to a file: epoch, batch and the exact number."""

    def __init__(self, path: str) -> None:
        self.path = path

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_global_zero:
            with Path(self.path).open("a") as file:
                file.write(f"{trainer.current_epoch} {batch_idx} {float(outputs['loss']).hex()}\n")


class SignalAt(Callback):
    """Send a signal to the own process.

    Args:
        hook: A hook of Lightning, or "saving": in the middle of writing a checkpoint.
        call: Which call of it, counted from 1.
        signum: The signal.
        times: How many of them.
        rank: The process that does so.
    """

    def __init__(self, hook: str, call: int, signum: int = 9, times: int = 1, rank: int = 0) -> None:
        self.calls = 0
        self.rank = rank

        def act(*args: Any, **kwargs: Any) -> None:
            self.calls += 1
            if self.calls == call and self.rank == self.trainer.global_rank:
                for _ in range(times):
                    os.kill(os.getpid(), signum)

        if hook == "saving":
            self._save = torch.save

            def save(content: Any, file: Any) -> None:
                file.write(b"PK, and then nothing")
                file.flush()
                act()
                file.seek(0)
                file.truncate()
                self._save(content, file)

            torch.save = save  # type: ignore[assignment]
        else:
            setattr(self, hook, act)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.trainer = trainer


class BreakLoss(Callback):
    """Make one loss, and so all gradients, not a number.

    Args:
        step: The optimizer step.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if trainer.global_step == self.step:
            loss.detach().fill_(torch.nan)
            loss.register_hook(lambda gradient: gradient * torch.nan)


class Outcome(NamedTuple):
    """How a run has ended.

    Attributes:
        code: Exit code, or minus the number of the signal that killed it.
        output: What it printed.
    """

    code: int
    output: str

    @property
    def error(self) -> str:
        """The error, which must be a single line."""
        [line] = [line for line in self.output.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in self.output, self.output
        return line


def fit(*args: str, callbacks: Sequence[tuple[Any, ...]] = ()) -> Outcome:
    """Train in a child process.

    Args:
        args: Options of `fit`.
        callbacks: Classes of further callbacks, each with its arguments.
    """
    child = _server().Process(target=_train, args=(["fit", *args], callbacks))
    child.start()
    child.join(TIMEOUT)
    if child.is_alive():
        child.kill()
        child.join()
    assert child.exitcode is not None
    return Outcome(child.exitcode, Path("child.log").read_text(encoding="utf-8", errors="replace"))


@cache
def _server() -> Any:
    from multiprocessing import forkserver  # not on Windows

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["faults", "sklearn.datasets"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # early Pythons do not hand it over
        forkserver.ensure_running()
    return context


def _train(args: list[str], callbacks: Sequence[tuple[Any, ...]]) -> None:
    with Path("child.log").open("wb") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    run_cli(args, facts=FACTS, callbacks=[kind(*rest) for kind, *rest in callbacks])


def read_losses(path: str) -> dict[tuple[int, int], list[str]]:
    """Read what `Record` wrote: the losses of every batch, several if it was done again."""
    losses: dict[tuple[int, int], list[str]] = {}
    for line in Path(path).read_text().splitlines():
        epoch, batch, loss = line.split()
        losses.setdefault((int(epoch), int(batch)), []).append(loss)
    return losses


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Name what is not equal to the last bit in two checkpoints, or parts of them."""
    if isinstance(one, Tensor):
        return [] if torch.equal(one, other) else [where]
    if isinstance(one, dict):
        found = [f"{where}.{key}: missing" for key in one.keys() ^ other.keys()]
        return sum((differences(one[key], other[key], f"{where}.{key}") for key in one.keys() & other.keys()), found)
    if isinstance(one, (list, tuple)):
        found = [] if len(one) == len(other) else [f"{where}: length"]
        pairs = enumerate(zip(one, other, strict=False))
        return sum((differences(*pair, f"{where}[{index}]") for index, pair in pairs), found)
    return [] if one == other else [f"{where}: {one} != {other}"]


def train_base(*args: str) -> None:
    """Train `runs/base` without interruption."""
    outcome = fit("--name", "base", *args, callbacks=[(Record, "base.txt")])
    assert outcome.code == 0, outcome.output


def train_with_kills(
    points: Sequence[tuple[str, int]], *args: str, name: str = "killed", at_most: int = INTERVAL * ACCUMULATE
) -> int:
    """Train a run that is killed at every point and resumed, and compare it with `runs/base`.

    Args:
        points: Hooks and the number of the call, counted anew in every process.
        args: Options of `fit`.
        name: Name of the run.
        at_most: Batches that one kill may cost.

    Returns:
        How many kills there were: a run may have ended before its point.
    """
    start = ["--name", name]
    kills = 0
    for point in [*points, None]:
        callbacks = [(Record, f"{name}.txt"), *([(SignalAt, *point)] if point else [])]
        outcome = fit(*start, *args, callbacks=callbacks)
        if outcome.code == 0:
            break
        assert outcome.code == -signal.SIGKILL, f"{point}: {outcome.output}"
        kills += 1
        if list(Path("runs", name, "checkpoints").glob("*.ckpt")):
            start = ["--ckpt_path", "last"]
        else:  # nothing to resume
            name = f"{name}-again"
            start = ["--name", name]
    require_same(name, points, at_most * kills)
    return kills


def require_same(name: str, points: object, at_most: int) -> None:
    """Compare a run that was resumed with `runs/base`, to the last bit."""
    expected, losses = read_losses("base.txt"), read_losses(f"{name}.txt")
    wrong = {batch: values for batch, values in losses.items() if {*values} != {*expected.get(batch, [])}}
    assert not wrong, f"{points}: other losses: {wrong}"
    assert losses.keys() == expected.keys(), points
    again = sum(len(values) - 1 for values in losses.values())
    assert again <= at_most, f"{points}: {again} batches done again"
    base, resumed = (read_checkpoint(f"runs/{run}/checkpoints/last.ckpt") for run in ("base", name))
    parts = ("state_dict", "optimizer_states", "lr_schedulers", "replay", "epoch", "global_step")
    found = [line for part in parts for line in differences(base[part], resumed[part], part)]
    assert not found, f"{points}: {found}"
    assert read_metrics("base") == read_metrics(name), points
    assert not list(Path("runs", name, "checkpoints").glob(".*")), points


def read_metrics(name: str) -> list[dict[str, str]]:
    """Read metrics.csv of a run, without the times of the throughput."""
    with Path("runs", name, "metrics.csv").open(newline="") as file:
        rows = [
            {key: text for key, text in row.items() if not key.startswith("train/")} for row in csv.DictReader(file)
        ]
    return [row for row in rows if any(text for key, text in row.items() if key not in ("epoch", "step"))]
