"""Generation as a user sees it: cookiecutter, both hooks, and a real smoke epoch."""

import ast
import csv
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from conftest import DEFAULT, VERIFIED, Render, files, generate, in_project, template_with, train


def test_the_default_project_has_trained(tmp_path: Path) -> None:
    result = generate(tmp_path / "here", "project_slug=seed")
    assert result.returncode == 0, result.stdout
    match = VERIFIED.search(result.stdout)
    assert match, result.stdout
    assert float(match[2]) < float(match[1])
    assert f"with Python {sys.version.split()[0]} and torch " in result.stdout
    commands = result.stdout.split("Next:\n")[1].splitlines()
    assert [command.split()[-1] for command in commands] == ["seed", "dev", "fit"]

    project = tmp_path / "here" / "seed"
    assert files(project) == DEFAULT  # and nothing of the smoke run


def test_files_that_were_not_requested_leave_no_empty_folder(tmp_path: Path) -> None:
    assert generate(tmp_path, "project_slug=seed", "ci=none", "verify=skip").returncode == 0
    assert not [name for name in (".github", ".gitlab") if (tmp_path / "seed" / name).exists()]


def test_a_broken_module_fails_generation_and_leaves_nothing(tmp_path: Path) -> None:
    change = "y_hat = self(x)", 'raise RuntimeError("broken on purpose")', "templates/task/regression/module.py"
    template = template_with(tmp_path, *change)
    result = generate(tmp_path / "here", template=template)
    assert result.returncode != 0
    assert "RuntimeError: broken on purpose" in result.stdout
    assert "FAILED: the project does not train" in result.stdout
    assert list((tmp_path / "here").iterdir()) == []

    result = generate(tmp_path / "here", "--keep-project-on-failure", template=template)
    assert result.returncode != 0
    assert (tmp_path / "here" / "my_lightning_project" / "README.md").exists()


def test_the_csv_logger_needs_nothing_else(render: Render) -> None:
    project = render(logger="csv")
    train(project, "fit", "--config", "configs/smoke.yaml", "--name", "first")
    assert {path.name for path in (project / "runs").iterdir()} == {"first"}


def hyperparameters(folder: Path) -> tuple[dict[str, Any], str]:
    """Read a run's row in TensorBoard's table: its settings, and the tag of its result."""
    [path] = folder.glob("events*")
    summaries = [value for event in EventFileLoader(str(path)).Load() for value in event.summary.value]
    content = {
        value.tag: HParamsPluginData.FromString(value.metadata.plugin_data.content)
        for value in summaries
        if value.metadata.plugin_data.plugin_name == "hparams"
    }
    [result] = [each.name.tag for each in content["_hparams_/experiment"].experiment.metric_infos]
    values = content["_hparams_/session_start_info"].session_start_info.hparams
    return {name: value.string_value or value.number_value for name, value in values.items()}, result


def test_tensorboard_gets_metrics_pictures_config_and_hyperparameters(render: Render) -> None:
    project = render(logger="tensorboard")
    train(project, "fit", "--config", "configs/smoke.yaml", "--name", "first")
    events = EventAccumulator(str(project / "runs/first")).Reload()  # TensorBoard names a run after this folder
    assert {"loss/train", "loss/train_epoch", "loss/val", "rmse/val"} <= set(events.Tags()["scalars"])
    with (project / "runs/first/metrics.csv").open(newline="") as file:
        logged = [float(row["val_loss"]) for row in csv.DictReader(file) if row["val_loss"]]
    assert [event.value for event in events.Scalars("loss/val")] == pytest.approx(logged)
    assert events.Tags()["images"] == ["visual/predicted"]
    assert events.Images("visual/predicted")[0].encoded_image_string.startswith(b"\x89PNG")
    [config] = events.Tensors("config/text_summary")
    assert b"max_epochs: 1" in config.tensor_proto.string_val[0]
    settings, best = hyperparameters(project / "runs/first")
    assert (settings["model"], settings["model.lr"], settings["data.batch_size"]) == ("LitModel", 0.01, 10)
    assert [event.value for event in events.Scalars(best)] == [min(logged[1:])]  # without the untrained model
    assert max(map(str.lower, events.Tags()["scalars"])) < "visual"  # so that pictures come after the curves


def test_weights_and_biases_records_offline_and_the_report_is_printed_last(render: Render) -> None:
    project = render(logger="wandb")
    result = train(project, "fit", "--config", "configs/smoke.yaml", "--name", "first")
    [recorded] = (project / "runs/wandb").glob("offline-run-*/run-*.wandb")
    content = recorded.read_bytes()
    for part in (b"loss/val", b"rmse/val", b"best_val_loss", b'"max_epochs":1', b"data.batch_size"):
        assert part in content
    pictures = {path.name.split("_")[0] for path in recorded.parent.glob("files/media/images/*.png")}
    assert pictures == {"predicted"}
    assert result.stdout.splitlines()[-2:] == ["runs/first", "runs/first/report.html"]
    assert "warn" not in (result.stdout + result.stderr).lower()


def test_mlflow_keeps_runs_in_sqlite(render: Render) -> None:
    project = render(logger="mlflow")
    result = train(project, "fit", "--config", "configs/smoke.yaml", "--name", "first")
    assert "warn" not in (result.stdout + result.stderr).lower()
    database = sqlite3.connect(project / "runs/mlflow.db")
    try:
        [(name, status, artifacts)] = database.execute("SELECT name, status, artifact_uri FROM runs")
        keys = {key for (key,) in database.execute("SELECT DISTINCT key FROM metrics")}
        params = dict(database.execute("SELECT key, value FROM params"))
    finally:
        database.close()
    assert (name, status) == ("first", "FINISHED")
    assert {"loss/train", "loss/val", "rmse/val", "best_val_loss"} <= keys
    assert (params["model.lr"], params["data.batch_size"]) == ("0.01", "10")
    assert files(project / artifacts) == {"config.yaml", "pictures/predicted.png"}
    assert "max_epochs: 1" in (project / artifacts / "config.yaml").read_text()


def test_processes_share_one_run_in_mlflow_whose_database_one_of_them_opens(render: Render) -> None:
    project = render(logger="mlflow")
    code = """
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from my_lightning_project.engine.trackers import MLFlowLogger
rank_zero_only.rank = 1
MLFlowLogger(tracking_uri="sqlite:///second.db")
"""
    in_project(project, "-c", code)
    assert not (project / "second.db").exists()

    fit = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "my_lightning_project.train"]
    fit += ["fit", "--name", "first", "--ckpt_path", "auto", "--config", "configs/smoke.yaml"]
    for epochs in ("1", "2"):
        in_project(project, *fit, "--trainer.max_epochs", epochs)
    with closing(sqlite3.connect(project / "runs/mlflow.db")) as database:
        [run] = database.execute("SELECT name, status FROM runs")
        losses = database.execute("SELECT count(*) FROM metrics WHERE key = 'loss/val' AND step > 0").fetchone()
    assert run == ("first", "FINISHED")
    assert losses == (2,)


def test_every_accelerator_trains_its_smoke_epoch_on_any_machine(render: Render) -> None:
    project = render(accelerator="tpu", logger="csv")
    train(project, "fit", "--config", "configs/smoke.yaml")


def test_a_missing_accelerator_is_an_error_of_one_line(render: Render) -> None:
    project = render(accelerator="tpu", logger="csv")
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    command = [sys.executable, "-m", "my_lightning_project.train", "fit"]
    result = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "error: " in result.stderr.splitlines()[-1]


def test_a_model_trains_with_fsdp_on_two_processes_and_resumes_from_its_checkpoint(render: Render) -> None:
    project = render(logger="csv")
    spread = ["--config", "configs/smoke.yaml", "--config", "configs/strategy/fsdp.yaml", "--trainer.devices", "2"]
    train(project, "fit", "--name", "first", *spread)
    train(project, "fit", "--ckpt_path", "last", *spread, "--trainer.max_epochs", "3")  # later options win
    train(project, "test", "--trainer.accelerator", "cpu")  # and one process can load it
    with (project / "runs/first/metrics.csv").open(newline="") as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file) if row["epoch"] and row["val_loss"]]
    assert len(losses) == 3
    assert losses == sorted(losses, reverse=True)
    with (project / "runs/first/metrics-test.csv").open(newline="") as file:
        assert float(next(csv.DictReader(file))["test_loss"]) < 1


def test_the_commands_of_the_readme_work_as_typed(render: Render, tmp_path: Path) -> None:
    project = render(logger="csv")
    rows = [f"{i},{('flat', 'house')[i % 2]},{3 * i + i % 7}" for i in range(200)]
    (project / "my.csv").write_text("\n".join(["size,kind,price", *rows]))
    (project / "new.csv").write_text("kind,size\nflat,10\nhouse,20\n")
    blocks = re.findall(r"```bash\n(.*?)```", (project / "README.md").read_text(), flags=re.DOTALL)
    lines = [line for line in "".join(blocks).splitlines() if not line.startswith("#")]
    commands = [line for line in lines if ".train " in line or ".doctor" in line]
    assert len(commands) >= 11
    for command in commands:
        if "runs/sweep/best.yaml" in command:  # of the search above it, here with one trial
            in_project(project, "-m", "my_lightning_project.sweep", "--trials", "1", "--trainer.max_epochs", "1")
        program, *options = command.split("#")[0].split()
        in_project(project, *(["-m", "torch.distributed.run"] if program == "torchrun" else []), *options)
        if "new.csv" in command:
            [predictions] = project.glob("runs/*/predictions.csv")
            header, *values = predictions.read_text().splitlines()
            assert (header, len(values)) == ("row,price", 2)
            code = f"from my_lightning_project import load_run; print(load_run({str(predictions.parent)!r})"
            predicted = ast.literal_eval(in_project(project, "-c", f"{code}.predict(path='new.csv'))").stdout)
            assert predicted["price"] == pytest.approx([float(value.split(",")[1]) for value in values])
