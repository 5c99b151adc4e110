"""What a run shows while it trains: lines in a log, a bar in a terminal."""

import os
import re
import threading
from contextlib import redirect_stdout, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import QUICK
from examples import make_datamodule
from faults import TRAINING
from lightning.pytorch import Callback
from own import OwnData

from {{ cookiecutter.project_slug }}.engine import progress
from {{ cookiecutter.project_slug }}.engine.cli import run_cli
from {{ cookiecutter.project_slug }}.module import LitModel
from {{ cookiecutter.project_slug }}.train import FACTS, main

OWN = ["--model", "own.OwnModel", "--data", "own.OwnData", "--optimizer", "SGD", "--optimizer.lr", "0.01"]


SAID = ("sanity_check", "validate", "epoch ", "batch ", "step ", "took ", "left ")  # beside the metrics


class Clock(Callback):
    """Let the progress believe that every batch takes some seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, training: int, validation: int = 0) -> None:
        self.now = 0
        self.training = training
        self.validation = validation
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: self.now))

    def on_train_batch_start(self, *args: Any) -> None:
        self.now += self.training

    def on_validation_batch_start(self, *args: Any) -> None:
        self.now += self.validation


def fit(*args: str, callbacks: tuple[Callback, ...] = ()) -> None:
    """Train with stdout in a file, as in `fit >> log`."""
    with Path("log").open("a", encoding="utf-8") as log, redirect_stdout(log):
        run_cli(["fit", *args], facts=FACTS, callbacks=callbacks)


def lines() -> list[str]:
    """Return the lines of progress in the log, without the metrics in them."""
    found = [line.split(", ") for line in Path("log").read_text("utf-8").splitlines() if line.startswith(SAID)]
    return [", ".join(part for part in parts if part.startswith(SAID)) for parts in found]


def test_log_has_a_plain_line_for_every_epoch_as_soon_as_it_ends(workdir: Path) -> None:
    seen = []

    class Look(Callback):
        def on_train_epoch_start(self, *args: Any) -> None:
            seen.append(len(lines()))

    fit("--name", "first", *TRAINING, callbacks=(Look(),))
    assert seen == [0, 1, 2]
    text = Path("log").read_text("utf-8")
    assert not {"\r", "\x1b"} & {*text}
    found = re.findall(r"(?m)^epoch (\d)/3, batch 7/7, step (\d+), .*\bval_loss [\d.]+, .*took 0:.*, left 0:", text)
    assert found == [("1", "4"), ("2", "8"), ("3", "12")]


@pytest.mark.slow
def test_long_epoch_and_validation_have_a_line_every_minute(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minutes = range(1, 1 + min(2, len(make_datamodule().val_dataloader())))  # of a validation, one for every batch
    fit("--name", "first", *TRAINING, "--trainer.max_epochs", "1", callbacks=(Clock(monkeypatch, 20, 60),))
    assert lines() == [
        *(f"sanity_check, batch {minute}, took 0:0{minute}:00" for minute in minutes),
        "epoch 1/1, batch 3/7, step 1, took 0:01:00, left 0:01:20",
        "epoch 1/1, batch 6/7, step 3, took 0:02:00, left 0:00:20",
        *(f"validate, batch {minute}, took 0:0{minute}:00" for minute in minutes),
        f"epoch 1/1, batch 7/7, step 4, took 0:0{2 + len(minutes)}:20, left 0:00:00",
    ]


@pytest.mark.slow
def test_resumed_run_counts_on(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, 5)

    def crash(*args: Any) -> None:
        if clock.now == 60:  # in the fifth batch of the second epoch
            raise RuntimeError("broken on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(LitModel, "on_train_batch_end", crash)
        with pytest.raises(RuntimeError, match="broken on purpose"):
            fit("--name", "first", *TRAINING, callbacks=(clock,))
    fit("--ckpt_path", "last", *TRAINING, callbacks=(clock,))
    assert lines() == [
        "epoch 1/3, batch 7/7, step 4, took 0:00:35, left 0:01:10",
        "epoch 2/3, batch 7/7, step 8, took 0:00:15, left 0:00:35",
        "epoch 3/3, batch 7/7, step 12, took 0:00:35, left 0:00:00",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--trainer.max_epochs", "1"], ["epoch 1/1, batch 7, step 7, took 0:00:35"]),
        (
            ["--trainer.max_epochs", "-1", "--trainer.max_steps", "9"],
            [
                "epoch 1, batch 7, step 7/9, took 0:00:35, left 0:00:10",
                "epoch 2, batch 2, step 9/9, took 0:00:10, left 0:00:00",
            ],
        ),
    ],
    ids=["epochs", "steps"],
)
def test_stream_without_length_and_without_validation_says_what_is_known(
    options: list[str], expected: list[str], workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(OwnData, "val_dataloader")
    stream = ["--data.kind", "stream", "--trainer.limit_train_batches", "1.0"]
    fit(*QUICK, *OWN, *stream, "--best_checkpoint.monitor", "train_loss", *options, callbacks=(Clock(monkeypatch, 5),))
    assert lines() == expected


@pytest.mark.slow
def test_progress_can_be_switched_off(workdir: Path) -> None:
    fit(*QUICK, "--trainer.enable_progress_bar", "false")
    assert lines() == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX terminal")
def test_terminal_shows_a_bar(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pty

    monkeypatch.setenv("TERM", "xterm")
    terminal, stdout = pty.openpty()
    shown = b""

    def read() -> None:
        nonlocal shown
        with suppress(OSError):  # how Linux says that the other end is closed
            while data := os.read(terminal, 4096):
                shown += data

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(stdout, "w", encoding="utf-8") as file, redirect_stdout(file):
        main(["fit", *QUICK])
    reader.join()
    os.close(terminal)
    text = shown.decode()
    assert re.search(r"\x1b.*Epoch 0/0 .*━.* 6/6 ", text), text
    assert not re.search(r"^epoch", text, re.MULTILINE)


def test_bar_is_updated_ten_times_a_second_and_at_the_ends_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    bar = progress.Bar()
    updated = []
    for number in range(50):
        clock.now += 0.03
        if bar._is_due(50, number):
            updated.append(number)
    assert updated == [0, *range(4, 49, 4), 49]
