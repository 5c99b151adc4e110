"""The slow tests of a rendered project: runs are killed at random and resumed exactly, and the engine at large."""

from pathlib import Path

import pytest

from conftest import CHOICES, Render, in_project

OF_ANY_TASK = "not (scratch or two_processes or ema)"  # a model, processes or a callback that is the same for all
OF_THE_TASK = [f"tests/test_{name}.py" for name in ("callbacks", "checkpoints", "datamodule", "faults", "mistakes")]
OTHERS = [task for task in CHOICES["task"] if task != "regression"]


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/dev/shm").exists():  # another file system, from which no file can be renamed into the run
        monkeypatch.setenv("TMPDIR", "/dev/shm")


@pytest.mark.parametrize("task", OTHERS)
def test_every_task_survives_kills(task: str, render: Render, tmp_path: Path) -> None:
    command = ("-m", "pytest", "-q", "-m", "slow", *OF_THE_TASK, "-k", OF_ANY_TASK)
    project = render(task=task, logger="csv")
    assert " passed" in in_project(project, *command, "--basetemp", str(tmp_path / "runs")).stdout


def test_the_default_project_passes_all_slow_tests(render: Render, tmp_path: Path) -> None:
    project = render(task="regression", logger="csv")
    command = ("-m", "pytest", "-q", "-m", "slow", "--basetemp", str(tmp_path / "runs"))
    assert " passed" in in_project(project, *command).stdout
