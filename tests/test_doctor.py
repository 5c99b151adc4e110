"""The memory that `doctor` predicts is what a step really takes, and the page on scaling has code that trains."""

import csv
import json
import re
from pathlib import Path

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


def _last_loss(run: Path) -> float:
    with (run / "metrics.csv").open(newline="") as file:
        return float([row["val_loss"] for row in csv.DictReader(file) if row["val_loss"]][-1])


def test_the_divided_network_of_the_page_trains_on_two_processes_as_on_one(render: Render) -> None:
    project = render(project_slug="seed", logger="csv")
    page = (project / "docs/scaling.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    [overlay] = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    (project / "src/seed/split.py").write_text(code)
    (project / "configs/split.yaml").write_text(overlay)
    options = ["--config", "configs/split.yaml", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "2"]
    for count in ("1", "2"):
        size = ["--trainer.devices", count, "--trainer.strategy.tensor_parallel_size", count]
        in_project(project, "-m", "seed.train", "fit", "--name", count, *options, *size)
    assert _last_loss(project / "runs/2") == pytest.approx(_last_loss(project / "runs/1"), rel=1e-4)
    assert _last_loss(project / "runs/2") < 0.7
