"""Runs of every task are killed at random and resumed exactly."""

from pathlib import Path

import pytest

from conftest import CHOICES, Render, in_project

OF_ANY_TASK = "scratch or two_processes"  # tests of the engine with a model or processes of their own


@pytest.mark.parametrize("task", CHOICES["task"])
def test_every_task_survives_kills(task: str, render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if Path("/dev/shm").exists():  # another file system, from which no file can be renamed into the run
        monkeypatch.setenv("TMPDIR", "/dev/shm")
    command = ("-m", "pytest", "-q", "-m", "slow", "tests/test_faults.py", "-k", f"not ({OF_ANY_TASK})")
    command += ("--basetemp", str(tmp_path / "runs"))
    assert " passed" in in_project(render(task=task, logger="csv"), *command).stdout


def test_a_model_and_data_from_scratch_and_two_processes_survive_faults(render: Render) -> None:
    command = ("-m", "pytest", "-q", "-m", "slow", "-k", OF_ANY_TASK)
    assert " passed" in in_project(render(task="regression", logger="csv"), *command).stdout
