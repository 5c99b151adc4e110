"""Runs of every task are killed at random and resumed exactly."""

import pytest

from conftest import CHOICES, Render, in_project


@pytest.mark.parametrize("task", CHOICES["task"])
def test_every_task_survives_faults(task: str, render: Render) -> None:
    command = ("-m", "pytest", "-q", "-m", "slow", "tests/test_faults.py")
    assert " passed" in in_project(render(task=task, logger="csv"), *command).stdout
