"""Ray: workers train the run of two local processes, whatever dies, and tasks share a search."""

import csv
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import runs
import torch
from environments import python_with

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the processes of a Ray in /proc")

DIES = '''
"""Ends the second process in the middle of an epoch."""

import os
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer


class Dies(Callback):
    """Exit without a word, as when the memory is full, but not again where the file is there.

    Args:
        once: The file.
    """

    def __init__(self, once: str = "") -> None:
        self.once = once

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: object) -> None:
        if trainer.global_rank == 1 and trainer.global_step == 21 and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).touch()
            os._exit(1)
'''
EVERY_STEP = ["--last_checkpoint.every_n_steps", "2"]
Project = tuple[Path, Path]


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project with a finished run `here` of two local processes, and a Python with its groups."""
    project = runs.make_project(tmp_path_factory.mktemp("ray"), cluster="ray", accelerator="cpu")
    (project / "src" / runs.PACKAGE / "dies.py").write_text(DIES.lstrip())
    groups = tomllib.loads((project / "pyproject.toml").read_text())["dependency-groups"]
    runs.fit_here(project, "here")
    return project, python_with(*groups["ray"], *groups["sweep"])


@pytest.fixture
def marked() -> Iterator[dict[str, str]]:
    """Return a variable that all processes of a test inherit; none may be left when it ends."""
    mark = {"LIT_TEMPLATE_TEST": secrets.token_hex(8)}
    yield mark
    try:
        wait_for(lambda: not processes(mark))
    finally:
        for pid in processes(mark):
            os.kill(pid, signal.SIGKILL)


def processes(mark: dict[str, str]) -> list[int]:
    """List the processes that have inherited a variable."""
    [(name, value)] = mark.items()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{name}={value}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


def wait_for(holds: Callable[[], Any], log: Path | None = None) -> None:
    """Wait until something holds, five minutes at most."""
    deadline = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < deadline, log.read_text() if log else "still not so"
        time.sleep(0.1)


def documented(project: Path, command: str, python: Path) -> list[str]:
    """Return a command of docs/ray.md, for this Python."""
    assert command in (project / "docs/ray.md").read_text().splitlines()
    return [str(python), *shlex.split(command)[1:]]


def start(
    ray: Project, command: str, *options: str, mark: dict[str, str], log: Path, **own: str
) -> subprocess.Popen[bytes]:
    """Start a command as from a terminal: in a group of its own, which gets Ctrl-C as a whole."""
    project, python = ray
    environment = runs.environment(project) | mark | own
    with log.open("wb") as file:
        return subprocess.Popen(
            [*documented(project, command, python), *options],
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def train(
    ray: Project, name: str, *options: str, mark: dict[str, str], log: Path, **own: str
) -> subprocess.Popen[bytes]:
    """Start the documented training, under another name."""
    command = f"python -m {runs.PACKAGE}.ray_train --workers 2 --name first"
    return start(ray, command, "--name", name, *runs.FIT, *options, mark=mark, log=log, **own)


def saved(project: Path, name: str) -> int:
    """Return the step of last.ckpt, 0 if there is none yet."""
    path = project / "runs" / name / "checkpoints/last.ckpt"
    return int(runs.last(project, name)["global_step"]) if path.exists() else 0


def steps(project: Path, name: str) -> list[str]:
    """List the steps whose training loss was logged."""
    with (project / "runs" / name / "metrics.csv").open(newline="") as file:
        return [row["step"] for row in csv.DictReader(file) if row.get("train_loss")]


def test_a_run_whose_workers_die_is_that_of_two_local_processes(
    ray: Project, marked: dict[str, str], tmp_path: Path
) -> None:
    project, _ = ray
    log, once = tmp_path / "log", tmp_path / "once"
    dies = ["--trainer.callbacks+", f"{runs.PACKAGE}.dies.Dies", "--trainer.callbacks.once", str(once)]
    began = time.monotonic()
    driver = train(ray, "dies", *EVERY_STEP, *dies, "--storage", str(tmp_path), mark=marked, log=log)
    wait_for(lambda: once.exists(), log)
    wait_for(lambda: saved(project, "dies") >= 26 or driver.poll() is not None, log)
    session = runs.record(project, "dies")["sessions"][-1]
    os.kill(session["pid"], signal.SIGKILL)
    status, text = driver.wait(timeout=300), log.read_text()
    print(f"{time.monotonic() - began:.0f} s, {text.count('Restored all states')} resumes")
    assert status == 0, text
    runs.require_equal(project, "dies", "here")
    assert len(runs.record(project, "dies")["sessions"]) == 3
    assert steps(project, "dies") == steps(project, "here")
    assert "worker 1 failed: its process or machine has died" in text
    assert "worker 0 failed: its process or machine has died" in text
    assert text.splitlines()[-2:] == ["runs/dies", "runs/dies/report.html"]
    assert {path.name for path in (project / "runs").iterdir()} == {"dies", "here"}
    copy = max((tmp_path / "dies").glob("*/checkpoint.ckpt"))  # a kill may leave one more, unfinished
    copied = torch.load(copy, weights_only=True)["state_dict"]
    assert all(torch.equal(value, copied[key]) for key, value in runs.last(project, "here")["state_dict"].items())


def test_ctrl_c_stops_workers_after_the_step_and_the_same_command_resumes(
    ray: Project, marked: dict[str, str], tmp_path: Path
) -> None:
    project, _ = ray
    log, fsdp = tmp_path / "log", ["--config", "configs/strategy/fsdp.yaml"]
    driver = train(ray, "stopped", *EVERY_STEP, *fsdp, mark=marked, log=log)
    wait_for(lambda: saved(project, "stopped") >= 2, log)
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.wait(timeout=300) == 130, log.read_text()
    assert runs.record(project, "stopped")["status"] == "stopped"
    assert "Traceback" not in log.read_text()
    wait_for(lambda: not processes(marked))
    driver = train(ray, "stopped", *EVERY_STEP, *fsdp, mark=marked, log=log)
    assert driver.wait(timeout=300) == 0, log.read_text()
    runs.require_equal(project, "stopped", "here")
    driver = train(ray, "stopped", *EVERY_STEP, *fsdp, mark=marked, log=log)
    assert driver.wait(timeout=300) == 0
    [line] = log.read_text().splitlines()
    assert line.startswith("runs/stopped is finished")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--max_failures", "0", "--trainer.callbacks+", f"{runs.PACKAGE}.dies.Dies"],
            "error: failed, worker 1: its process or machine has died; "
            "the same command with --name ends resumes the run",
        ),
        (["--data.path", "nothing.csv"], "error: nothing.csv: no such file"),
    ],
)
def test_training_that_cannot_go_on_ends_with_one_line(
    options: list[str], line: str, ray: Project, marked: dict[str, str], tmp_path: Path
) -> None:
    project, _ = ray
    log, name = tmp_path / "log", "ends" if "resumes" in line else "refused"
    driver = train(ray, name, *options, mark=marked, log=log)
    assert driver.wait(timeout=300) == 1, log.read_text()
    assert log.read_text().splitlines()[-1] == line
    assert (project / "runs" / name).exists() == ("resumes" in line)
    if "nothing.csv" in line:
        assert log.read_text().count("Setting up process group") == 1  # no restart
        assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("options", "status", "line"),
    [
        (["--workers", "2", "--trainer.max_epoch", "3"], 2, "--trainer.max_epoch: no such option"),
        (["--workers", "0"], 1, "--workers 0: must be 1 or more"),
        (["--workers", "2", "--ckpt_path", "best"], 1, "--ckpt_path: Ray resumes the run that --name names"),
        (["--workers", "2", "--address", "127.0.0.1:1"], 1, "--address 127.0.0.1:1: no cluster answers there"),
    ],
)
def test_mistake_gets_one_line_before_a_worker_starts(
    options: list[str], status: int, line: str, ray: Project, tmp_path: Path
) -> None:
    project, python = ray
    here = {path.name for path in (project / "runs").iterdir()}
    result = _command(project, python, *options)
    assert result.returncode == status, result.stderr
    assert result.stderr.startswith(f"error: {line}")
    assert len(result.stderr.splitlines()) == 1
    assert {path.name for path in (project / "runs").iterdir()} == here


def test_missing_group_gets_one_line(ray: Project) -> None:
    project, _ = ray
    result = _command(project, Path(sys.executable), "--workers", "2")
    assert result.returncode == 1
    assert result.stderr == ("error: ray not installed: python -m pip install --group ray (or: uv sync --group ray)\n")


def _command(project: Path, python: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", f"{runs.PACKAGE}.ray_train", *options]
    return subprocess.run(
        command, cwd=project, env=runs.environment(project), capture_output=True, text=True, check=False, timeout=120
    )


def test_tasks_on_a_cluster_share_a_search(ray: Project, marked: dict[str, str], tmp_path: Path) -> None:
    project, python = ray
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0"}
    own |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # loopback alone
    head = [
        *(python.with_name("ray"), "start", "--head", "--block", "--port", str(port), "--num-cpus", "2"),
        *("--include-dashboard", "false", "--disable-usage-stats"),
    ]
    log = tmp_path / "head.log"
    with log.open("wb") as file:
        cluster = subprocess.Popen(
            head, cwd=tmp_path, env=runs.environment(project) | marked | own, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        wait_for(lambda: "Ray runtime started" in log.read_text() or cluster.poll() is not None, log)
        command = f"python -m {runs.PACKAGE}.ray_sweep --workers 2 --trials 3 --name search"
        quick = ["--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]
        address = {"RAY_ADDRESS": f"127.0.0.1:{port}"}
        driver = start(ray, command, *quick, mark=marked, log=tmp_path / "log", **own, **address)
        assert driver.wait(timeout=300) == 0, (tmp_path / "log").read_text()
    finally:
        cluster.terminate()
        cluster.wait(timeout=60)
    with (project / "runs/search/trials.csv").open(newline="") as file:
        trials = list(csv.DictReader(file))
    assert len(trials) == 3
    assert sorted(path.name for path in (project / "runs/search").glob("trial-*")) == [
        "trial-000",
        "trial-001",
        "trial-002",
    ]
    tasks = {
        line.split("pid=")[1].split(")")[0]
        for line in (tmp_path / "log").read_text().splitlines()
        if "(sweep pid=" in line
    }
    assert len(tasks) == 2
