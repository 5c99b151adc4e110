"""The memory that `doctor` predicts is what a step really takes, for the tasks' own models."""

import json

import pytest

from conftest import REPO, Render, in_project

SIZES = {
    "language_model": ["--model.schedule=constant", "--model.layers=3", "--model.width=96", "--data.batch_size=4"],
    "regression": ["--model.hidden=[512, 512]", "--data.batch_size=64"],
    "image_classification": ["--data.batch_size=32", "--data.num_workers=0"],
}


@pytest.mark.parametrize("task", SIZES)
def test_the_predicted_memory_is_within_a_tenth_of_what_is_allocated(task: str, render: Render) -> None:
    project = render(task=task, project_slug="seed", logger="csv")
    options = [*SIZES[task], "--trainer.accelerator=cpu", "--model.schedule=constant"]
    result = in_project(project, str(REPO / "tests/measure_memory.py"), *options)
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["predicted"] == pytest.approx(found["allocated"], rel=0.1)
