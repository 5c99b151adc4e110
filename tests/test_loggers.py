"""A run that fails, is stopped or is killed stays one run in every tracker, with the status of how it ended."""

import csv
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import REPO, Render, in_project

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs os.fork and POSIX signals")


def in_tensorboard(folder: Path) -> dict[str, list[Any]]:
    """Read the curves that TensorBoard shows."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def in_mlflow(database: Path, run: str) -> set[Any]:
    """Read the points of MLflow, which never forgets one: a step that is taken again is there twice."""
    query = (
        "SELECT key, step, value FROM metrics"
        " WHERE run_uuid = ? AND key NOT LIKE 'trainer/lr-%' AND key NOT LIKE 'best_%'"  # of every ending
    )
    with closing(sqlite3.connect(database)) as connection:
        return {*connection.execute(query, [run])}


def test_resumed_run_is_one_run_in_every_tracker_which_tells_how_it_ended(render: Render) -> None:
    project = render(project_slug="seed", logger="wandb")
    shutil.copy(REPO / "tests" / "resumed_logs.py", project / "tests")
    told = [json.loads(line) for line in in_project(project, "tests/resumed_logs.py").stdout.splitlines()]
    assert [code for code, *_ in told] == [0, 1, 143, 1, -9, 1, 0]

    [base], [run] = told[0][1], told[-1][1]
    statuses = ["FAILED", "KILLED", "KILLED", "RUNNING", "FAILED", "FINISHED"]  # nobody tells of SIGKILL
    assert [mlflow for _, mlflow, _ in told[1:]] == [{run: status} for status in statuses]
    database = project / "runs/mlflow.db"
    assert in_mlflow(database, run) == in_mlflow(database, base)

    (first, finished), *sessions = told[-1][2]  # which wandb uploads one after the other into one run
    assert finished == 0
    assert {name for name, _ in sessions} == {sessions[0][0]} != {first}
    assert [exit_code for _, exit_code in sessions] == [1, 255, 255, None, 1, 0]

    assert in_tensorboard(project / "runs/resumed") == in_tensorboard(project / "runs/base")
    assert len(list(project.glob("runs/resumed/events*"))) > 1


def test_what_a_checkpoint_counts_is_in_tensorboard_when_the_run_is_killed(render: Render) -> None:
    project = render(project_slug="seed", logger="tensorboard")
    code = """
import time
from faults import TRAINING, SignalAt, fit
from lightning.pytorch import Callback
from tensorboard.summary.writer.record_writer import RecordWriter

class SlowDisk(Callback):
    def __init__(self):
        write = RecordWriter.write
        RecordWriter.write = lambda *args: (time.sleep(0.05), write(*args))

if __name__ == "__main__":
    callbacks = [(SlowDisk,), (SignalAt, "on_train_batch_start", 20)]
    quick = [*TRAINING, "--config", "logger.yaml", "--trainer.log_every_n_steps", "1"]
    assert fit("--name", "killed", *quick, callbacks=callbacks).code == -9
"""
    logger = {"class_path": "seed.engine.trackers.TensorBoardLogger", "init_args": {"save_dir": "runs", "version": ""}}
    (project / "logger.yaml").write_text(json.dumps({"trainer": {"logger": logger}}))
    (project / "tests/killed.py").write_text(code)
    in_project(project, "tests/killed.py")
    counted = torch.load(project / "runs/killed/checkpoints/last.ckpt", weights_only=True)["metrics_rows"]
    with (project / "runs/killed/metrics.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)][:counted]
    curves = in_tensorboard(project / "runs/killed")
    for name in ("train_loss", "val_loss"):
        points = [(int(row["step"]), pytest.approx(float(row[name]))) for row in rows if row[name]]
        assert len(points) > 1
        stage, metric = name.split("_")
        assert curves[f"{metric}/{stage}"][: len(points)] == points
