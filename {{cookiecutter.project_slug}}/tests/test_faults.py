"""Faults: kills, signals, damaged checkpoints, a full disk and a loss that is not a number. A resumed run is exact.

`pytest -m slow` runs them: killed at random points, on two processes, and with a model and data from scratch.
"""

import errno
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from conftest import QUICK, ROOT, error_line, read_checkpoint
from faults import (
    ACCUMULATE,
    INTERVAL,
    TRAINING,
    BreakLoss,
    Record,
    SignalAt,
    child,
    fit,
    read_losses,
    require_same,
    train_base,
    train_with_kills,
)
from lightning.pytorch import Callback
from own import SIZE, Noisy

from {{ cookiecutter.project_slug }}.engine.cli import run_cli
from {{ cookiecutter.project_slug }}.train import FACTS, main

pytestmark = pytest.mark.slow  # it changes with the engine or with Lightning

COSINE = ["--model.schedule", "cosine"]
OWN = ["--model", "own.OwnModel", "--data", "own.OwnData"]
STRICT = ["--config", "configs/callbacks/early_stopping.yaml", "--trainer.gradient_clip_val", "1"]
RESUME = ["fit", "--ckpt_path", "last", *QUICK, "--trainer.max_epochs", "2"]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@child
def test_killed_run_that_is_resumed_equals_an_uninterrupted_one(workdir: Path) -> None:
    train_base(*TRAINING, *COSINE)
    assert train_with_kills([("on_before_optimizer_step", 3), ("saving", 3)], *TRAINING, *COSINE) == 2


@child
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_saves_after_the_step_and_the_run_resumes_exactly(signum: int, code: int, workdir: Path) -> None:
    options = [*TRAINING, "--last_checkpoint.every_n_steps", "null", *COSINE]
    train_base(*options)
    stop = (SignalAt, "on_train_batch_start", 3, signum)
    outcome = fit("--name", "stopped", *options, callbacks=[(Record, "stopped.txt"), stop])
    assert outcome.code == code, outcome.output
    assert f"{signal.Signals(signum).name}: finishing the step" in outcome.output
    assert read_checkpoint("runs/stopped/checkpoints/last.ckpt")["global_step"] == 2  # of two batches each
    outcome = fit("--ckpt_path", "last", *options, callbacks=[(Record, "stopped.txt")])
    assert outcome.code == 0, outcome.output
    require_same("stopped", signum, at_most=0)


@child
@pytest.mark.parametrize("again", [[], [*TRAINING, *STRICT]], ids=["nothing", "the same command"])
def test_resumed_run_keeps_its_options_whatever_is_typed_again(again: list[str], workdir: Path) -> None:
    options = [*TRAINING, *STRICT]
    assert fit("--name", "killed", *options, callbacks=[(SignalAt, "on_train_batch_start", 9)]).code == -signal.SIGKILL
    config = Path("runs/killed/config.yaml")
    before = config.read_text()
    assert before.count("EarlyStopping") == 1
    assert fit("--ckpt_path", "last", *again).code == 0
    assert config.read_text() == before.replace("\nname: killed", "\nname: null")
    assert read_checkpoint("runs/killed/checkpoints/last.ckpt")["epoch"] == 3


@child
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_second_signal_exits_at_once(signum: int, code: int, workdir: Path) -> None:
    stop = (SignalAt, "on_train_batch_start", 3, signum, 2)
    assert fit("--name", "stopped", *QUICK, callbacks=[(Record, "stopped.txt"), stop]).code == code
    assert len(read_losses("stopped.txt")) == 2
    assert not Path("runs/stopped/checkpoints/last.ckpt").exists()


class Crash(Callback):
    """Fail at a call of a hook, counted from 1."""

    def __init__(self, hook: str, call: int) -> None:
        self.calls = 0
        self.call = call
        setattr(self, hook, self._act)

    def _act(self, *args: Any) -> None:
        self.calls += 1
        if self.calls == self.call:
            raise RuntimeError("broken on purpose")


@pytest.mark.parametrize(
    "crashes",  # each counted anew
    [
        [("on_before_backward", 6)],
        [("on_train_batch_end", 6), ("on_validation_start", 1), ("on_train_epoch_start", 2)],
    ],
    ids=["once", "three times"],
)
def test_run_that_crashes_within_a_step_is_resumed_exactly(crashes: list[tuple[str, int]], workdir: Path) -> None:
    def train(name: str, *args: str, callbacks: Sequence[Callback] = ()) -> None:
        run_cli(["fit", *args, *TRAINING, *COSINE], facts=FACTS, callbacks=[Record(f"{name}.txt"), *callbacks])

    train("base", "--name", "base")
    start = ["--name", "crashed"]
    for crash in crashes:
        with pytest.raises(RuntimeError, match="broken on purpose"):
            train("crashed", *start, callbacks=[Crash(*crash)])
        start = ["--ckpt_path", "last"]
    train("crashed", *start)
    require_same("crashed", crashes, at_most=INTERVAL * ACCUMULATE * len(crashes))


def test_run_that_cannot_load_a_row_is_resumed_at_its_batch(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Noisy.__getitem__
    rows = iter(range(100))

    def fail(data: Noisy, row: int) -> Any:
        if next(rows) == 3 * SIZE + 1:
            raise RuntimeError("broken on purpose")
        return load(data, row)

    monkeypatch.setattr(Noisy, "__getitem__", fail)
    with pytest.raises(RuntimeError, match="broken on purpose"):
        main(["fit", "--name", "first", *QUICK, *OWN, "--trainer.num_sanity_val_steps", "0"])
    assert read_checkpoint("runs/first/checkpoints/last.ckpt")["global_step"] == 3


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Change one bit in the middle of the largest tensor."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    data = bytearray(path.read_bytes())
    data[largest.header_offset + largest.file_size // 2 + 200] ^= 1  # after its header
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGE = [flip, truncate, empty, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGE)
def test_resume_takes_the_best_checkpoint_if_the_last_one_is_damaged(
    damage: Any, trained: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    last, best = trained / "checkpoints/last.ckpt", trained / "checkpoints/best.ckpt"
    damage(last)
    main(RESUME)
    assert [line for line in caplog.messages if str(best) in line]
    assert read_checkpoint(last)["global_step"] == 12  # of two epochs


@pytest.mark.parametrize("damage", DAMAGE)
def test_resume_without_a_whole_checkpoint_is_refused_and_changes_nothing(
    damage: Any, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(trained, "checkpoints/best.ckpt").unlink()
    damage(trained / "checkpoints/last.ckpt")
    before = contents(Path("runs"))
    assert str(trained) in error_line(RESUME, capsys)
    assert contents(Path("runs")) == before


def test_resume_for_fewer_epochs_is_refused_and_changes_nothing(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(Path("runs"))
    line = error_line([*RESUME, "--trainer.max_epochs", "0"], capsys)
    assert "already has 1 epochs; ask for more" in line
    assert contents(Path("runs")) == before


@child
def test_run_that_was_killed_before_it_saved_is_not_resumed_as_the_run_before(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit("--name", "second", *QUICK, callbacks=[(SignalAt, "on_train_batch_start", 2)]).code == -signal.SIGKILL
    before = contents(Path("runs"))
    assert "runs/second, ended before it saved a checkpoint" in error_line(RESUME, capsys)
    assert contents(Path("runs")) == before


def test_unfinished_checkpoints_of_killed_runs_are_removed(trained: Path) -> None:
    stale = trained / "checkpoints/.last.ckpt.123.unfinished"
    stale.write_bytes(b"PK")
    main(RESUME)
    assert not stale.exists()


@child
def test_loss_that_is_not_a_number_ends_the_run_and_is_in_no_checkpoint(workdir: Path) -> None:
    outcome = fit("--name", "broken", *TRAINING, callbacks=[(BreakLoss, 5)])
    assert outcome.code == 1, outcome.output
    assert outcome.error.startswith("error: step 5: the training loss is nan, in batch 2 of epoch 1, with ")
    for name in ("best", "last"):
        content = read_checkpoint(f"runs/broken/checkpoints/{name}.ckpt")
        assert content["global_step"] == 4
        assert all(torch.isfinite(value).all() for value in content["state_dict"].values())


@pytest.mark.parametrize("broken", ["os.fsync", "torch.save"])
def test_full_disk_is_reported_in_one_line_and_leaves_the_checkpoints_as_they_were(
    broken: str, trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = contents(trained / "checkpoints")
    monkeypatch.setattr(broken, fail)
    line = error_line([*RESUME, "--last_checkpoint.every_n_steps", "2"], capsys)
    assert f"{trained}/checkpoints: cannot write a checkpoint, No space left on device" in line
    assert contents(trained / "checkpoints") == before


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_pickled_code_is_refused_whatever_the_environment_says(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save({"state_dict": _Code()}, "model.ckpt")
    assert "not safe to load" in error_line(["fit", "--ckpt_path", "model.ckpt", *QUICK], capsys)
    assert not Path("ran").exists()


HOOKS = {  # and the last call of each that is drawn
    "on_train_batch_start": 20,
    "on_before_backward": 20,
    "on_before_optimizer_step": 10,
    "on_train_batch_end": 20,
    "on_validation_batch_end": 8,
    "on_validation_end": 3,
    "on_train_epoch_start": 3,
    "on_train_epoch_end": 2,
    "saving": 8,
}
EMA = ["--config", "configs/callbacks/ema.yaml"]
WORKERS = ["--data.num_workers", "2"] if "num_workers" in (ROOT / "configs/train.yaml").read_text() else []


def random_points(seed: int, kills: int) -> list[tuple[str, int]]:
    generator = random.Random(seed)
    hooks = generator.choices([*HOOKS], k=kills)
    return [(hook, generator.randint(1, HOOKS[hook])) for hook in hooks]


@child
@pytest.mark.parametrize(("options", "at_least"), [([], 9), (EMA, 3), (WORKERS, 3)], ids=["plain", "ema", "workers"])
def test_run_killed_at_random_points_equals_an_uninterrupted_one(
    options: list[str], at_least: int, workdir: Path
) -> None:
    if options is WORKERS and not WORKERS:
        pytest.skip("the data of this project are loaded without worker processes")
    train_base(*TRAINING, *COSINE, *options)
    kills = seed = 0
    while kills < at_least:
        points = random_points(seed, kills=3)
        kills += train_with_kills(points, *TRAINING, *COSINE, *options, name=f"killed{seed}")
        seed += 1


@child
def test_run_killed_while_saving_keeps_the_checkpoint_before(workdir: Path) -> None:
    train_base(*TRAINING, *COSINE)
    assert train_with_kills([("saving", call) for call in (2, 1, 3, 2, 1)], *TRAINING, *COSINE) == 5


KINDS = ["shuffle", "generator", "weighted", "lazy", "batch_sampler", "mixup", "stream", "two"]


@child
@pytest.mark.parametrize(("kind", "workers"), [*((kind, 0) for kind in KINDS), ("shuffle", 2), ("stream", 2)])
def test_model_and_data_from_scratch_resume_exactly(kind: str, workers: int, workdir: Path) -> None:
    options = [*TRAINING, *OWN, "--data.kind", kind, "--data.workers", str(workers)]
    train_base(*options)
    assert train_with_kills([("on_before_optimizer_step", 3), ("on_train_batch_end", 6)], *options) == 2


@child
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("deadly", "error: a process that loads data died, while loading row 17 of the training data; if memory is"),
        ("sick", "of epoch 0, which holds values that are not finite in row 17 of the training data; lower the"),
    ],
)
def test_data_from_scratch_that_end_a_run_are_named(kind: str, message: str, workdir: Path) -> None:
    outcome = fit("--name", "broken", *TRAINING, *OWN, "--data.kind", kind, "--data.workers", "2")
    assert outcome.code == 1, outcome.output
    assert message in outcome.error


@pytest.fixture
def two(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the command that trains on two processes."""
    path = [str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    monkeypatch.setenv("MPLBACKEND", "agg")
    module = "{{ cookiecutter.project_slug }}.train"
    spread = ["--config", "configs/strategy/ddp.yaml", "--trainer.devices", "2"]
    return [sys.executable, "-m", module, "fit", *TRAINING, *COSINE, *spread]


def run(command: list[str], name: str, *options: str) -> tuple[int, str]:
    """Run it in a process group of its own, of which no process may be left."""
    # The resumed run has the callbacks of the stopped one, unless told otherwise.
    record = ["--trainer.callbacks=null", "--trainer.callbacks+=faults.Record", f"--trainer.callbacks.path={name}.txt"]
    with Path("child.log").open("w+") as log:
        process = subprocess.Popen([*command, *record, *options], stdout=log, stderr=log, start_new_session=True)
        code = process.wait(timeout=300)
        time.sleep(5)  # for the other process to notice
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
        log.seek(0)
        return code, log.read()


def signal_at(call: int, signum: int, rank: int) -> list[str]:
    settings = {"hook": "on_train_batch_start", "call": call, "signum": int(signum), "rank": rank}
    options = [f"--trainer.callbacks.{name}={value}" for name, value in settings.items()]
    return ["--trainer.callbacks+=faults.SignalAt", *options]


@child
def test_two_processes_that_are_stopped_or_killed_resume_exactly(two: list[str]) -> None:
    code, output = run([*two, "--name", "base"], "base")
    assert code == 0, output
    code, output = run([*two, "--name", "stopped"], "stopped", *signal_at(10, signal.SIGTERM, rank=0))
    assert code == 143, output
    code, output = run([*two, "--ckpt_path", "last"], "stopped")
    assert code == 0, output
    require_same("stopped", "SIGTERM", at_most=0)

    code, output = run([*two, "--name", "killed"], "killed", *signal_at(6, signal.SIGKILL, rank=1))
    assert code != 0, output
    code, output = run([*two, "--ckpt_path", "last"], "killed", *signal_at(7, signal.SIGKILL, rank=0))
    assert code != 0, output
    code, output = run([*two, "--ckpt_path", "last"], "killed")
    assert code == 0, output
    require_same("killed", "SIGKILL", at_most=2 * INTERVAL * ACCUMULATE)
