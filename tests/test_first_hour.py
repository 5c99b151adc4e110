"""The first hour of an owner: a model, a dataset, a callback, an optimizer of one's own, through every command.

What the owner writes is in `first_hour/`, each file by Lightning's documentation alone. A first process trains;
a second one, which knows nothing but the run, resumes, evaluates, predicts and loads. To run one of them:

    python -m pytest tests/test_first_hour.py -k "regression and two_optimizers"
"""

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import CHOICES, REPO, render_into

FILES = REPO / "tests" / "first_hour"
ROWS = 40  # of one's own data; its default is another number
QUICK = [
    *("--trainer.accelerator", "cpu", "--trainer.devices", "1"),
    *("--trainer.limit_train_batches", "4", "--trainer.limit_val_batches", "2"),
]
SMOKE = ["--config", "configs/smoke.yaml"]
KEPT = ["config.yaml", "metrics.csv", "curves.png", "checkpoints/best.ckpt", "checkpoints/last.ckpt"]


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every task, rendered once."""
    folder = tmp_path_factory.mktemp("rendered")
    return {task: render_into(folder / task, task=task, project_slug="seed", logger="csv") for task in CHOICES["task"]}


def _copy(rendered: dict[str, Path], task: str, folder: Path, **own: str | None) -> Path:
    """Copy a project, and the owner's files into its package."""
    project = shutil.copytree(rendered[task], folder / "project")
    for name, file in own.items():
        if file:
            shutil.copy(FILES / f"{file}.py", project / "src" / "seed" / f"{name}.py")
    return project


def _python(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(project / "src"), "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def _train(project: Path, *args: str) -> None:
    result = _python(project, "-m", "seed.train", *args)
    assert result.returncode == 0, result.stderr[-3000:]


def _drive(project: Path, steps: dict[str, list[str] | str], run: dict[str, Any] | None = None) -> dict[str, str]:
    """Run command lines, and checks of the driver by name, in one new process; see `first_hour/driver.py`."""
    asked = json.dumps({"steps": list(steps.items()), "run": run})
    result = _python(project, str(FILES / "driver.py"), asked)
    assert result.returncode == 0, result.stdout + result.stderr
    outcomes: dict[str, str] = json.loads(result.stdout.splitlines()[-1])
    return outcomes


def _assert_ok(outcomes: dict[str, str]) -> None:
    """Fail with every step that went wrong, in full."""
    wrong = [f"{step}: {text}" for step, text in outcomes.items() if text != "ok"]
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def _assert_refused(outcomes: dict[str, str], names: dict[str, str]) -> None:
    """Fail with every step that did not end in one line with the name in it."""
    wrong = [
        f"{step}: {text}"
        for step, text in outcomes.items()
        if not text.startswith("error: ") or "\n" in text or names[step] not in text
    ]
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


@dataclass
class Owner:
    """What an owner writes, and how it is trained.

    Attributes:
        model: A file of `first_hour/` with an `OwnModel`, or None for the shipped one.
        data: A file of it with `OwnData`, or None for the shipped one.
        arguments: Of the model, in the overlay.
        options: On the command line of `fit`, never to be repeated.
        rows: What predictions.csv holds.
        columns: Its columns after `row`; None where the shipped data names them.
    """

    task: str
    model: str | None = None
    data: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    rows: int = ROWS + 3
    columns: list[str] | None = None

    def overlay(self) -> dict[str, Any]:
        """What `configs/own.yaml` says."""
        config: dict[str, Any] = {}
        if self.model:
            config["model"] = {"class_path": "seed.own.OwnModel", "init_args": self.arguments}
        if self.data:
            config["data"] = {"class_path": "seed.own_data.OwnData", "init_args": {"rows": ROWS}}
        return config


ONE = ["prediction"]
ADAMW = ["--model.optimizer", "torch.optim.AdamW", "--model.optimizer.lr", "0.003"]
LINEAR = {"class_path": "torch.nn.Linear", "init_args": {"in_features": 10, "out_features": 1}}
CATEGORIES = ["--model.in_features", "4", "--model.cardinalities", "[3, 3]", "--model.num_classes", "3"]
PIXELS = ["--model.in_channels", "3", "--model.num_classes", "3"]
TOKENS = ["--model.vocab_size", "256", "--model.block_size", "16"]

OWNERS = {
    "regression: a model": Owner("regression", "regression_model", rows=442),
    "regression: an optimizer in the config": Owner("regression", "regression_optimizer", options=ADAMW, rows=442),
    "regression: two optimizers, manual optimization": Owner("regression", "regression_manual", rows=442),
    "regression: a metric and a loss": Owner(
        "regression", "regression_loss", options=["--model.loss", "huber"], rows=442
    ),
    "regression: a network from elsewhere": Owner(
        "regression", "regression_network", arguments={"network": LINEAR}, rows=442
    ),
    "regression: data": Owner("regression", data="regression_data", options=["--model.in_features", "6"], columns=ONE),
    "regression: data that saves its arguments": Owner(
        "regression", data="regression_data_saving", options=["--model.in_features", "6"], columns=ONE
    ),
    "regression: a model and data": Owner("regression", "regression_model", "regression_data", columns=ONE),
    "classification: a model": Owner("classification", "classification_model", rows=569),
    "classification: data": Owner(
        "classification",
        data="classification_data",
        options=CATEGORIES,
        columns=["prediction_0", "prediction_1", "prediction_2"],
    ),
    "image classification: a model": Owner("image_classification", "image_classification_model", rows=1797),
    "image classification: torchvision's ResNet-18": Owner(
        "image_classification", "image_classification_network", rows=1797
    ),
    "image classification: data": Owner("image_classification", data="image_classification_data", options=PIXELS),
    "language model: a model": Owner("language_model", "language_model_model", rows=1),
    "language model: data": Owner("language_model", data="language_model_data", options=TOKENS),
}

LATER = {
    "resume": ["fit", "--ckpt_path", "last", *QUICK, "--trainer.max_epochs", "2"],
    "validate": ["validate", *QUICK],
    "test": ["test", "--trainer.accelerator", "cpu"],
    "predict": ["predict", "--trainer.accelerator", "cpu"],
    "load_run finds the classes and the weights": "loads",
    "load_run takes the path of a checkpoint": "loads_a_path",
    "run.predict gives what predict wrote": "predicts",
    "the test was of the owner's data": "tested",
}


@pytest.mark.parametrize("owner", OWNERS.values(), ids=[name.replace(" ", "_") for name in OWNERS])
def test_what_an_owner_writes_goes_through_every_command(
    owner: Owner, rendered: dict[str, Path], tmp_path: Path
) -> None:
    project = _copy(rendered, owner.task, tmp_path, own=owner.model, own_data=owner.data)
    (project / "configs/own.yaml").write_text(yaml.safe_dump(owner.overlay()))
    _train(project, "fit", "--name", "own", *SMOKE, "--config", "configs/own.yaml", *owner.options, *QUICK)

    run = {
        "model": "seed.own.OwnModel" if owner.model else "seed.module.LitModel",
        "data": "seed.own_data.OwnData" if owner.data else "seed.datamodule.LitDataModule",
        "data_arguments": {"rows": ROWS} if owner.data else None,
    }
    doctor = ["doctor", *SMOKE, "--config", "configs/own.yaml", *owner.options, *QUICK]
    _assert_ok(_drive(project, LATER | {"the doctor finds nothing in the way": doctor}, run))

    assert [path.name for path in (project / "runs").iterdir()] == ["own"]
    for name in [*KEPT, "metrics-validate.csv"]:
        assert (project / "runs/own" / name).stat().st_size > 0
    with (project / "runs/own/predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[0] == "row"
    assert header[1:] == (owner.columns or header[1:])
    assert [row[0] for row in rows] == [str(number) for number in range(1, owner.rows + 1)]


def test_a_second_model_starts_from_its_own_defaults(rendered: dict[str, Path], tmp_path: Path) -> None:
    project = _copy(rendered, "regression", tmp_path, own="regression_model")  # its lr is 0.001, train.yaml says 0.01
    for options, lr in (([], 0.001), (["--model.lr", "0.5"], 0.5)):
        printed = _python(
            project, "-m", "seed.train", "fit", "--model", "seed.own.OwnModel", *options, "--print_config"
        )
        assert yaml.safe_load(printed.stdout)["model"]["init_args"] == {"width": 16, "lr": lr}


CONTRADICTIONS = {
    "regression": {"target": "bmi", "split_seed": "99", "features": "[bmi, age]"},
    "classification": {"target": "mean radius", "split_seed": "99"},
    "image_classification": {"grayscale": "true", "image_size": "16", "split_seed": "99"},
    "language_model": {"tokens": "bytes"},
}


@pytest.mark.parametrize("task", CHOICES["task"])
def test_a_data_option_that_contradicts_the_checkpoint_is_refused_by_its_name(
    task: str, rendered: dict[str, Path], tmp_path: Path
) -> None:
    project = _copy(rendered, task, tmp_path)
    _train(project, "fit", "--name", "own", *SMOKE, *QUICK)
    config = yaml.safe_load((project / "runs/own/config.yaml").read_text())["data"]["init_args"]
    repeated = "block_size" if task == "language_model" else "split_seed"
    again = ["validate", f"--data.{repeated}", str(config[repeated]), *QUICK]

    starts = {"fit": ["fit", "--ckpt_path", "best", "--trainer.max_epochs", "2"], "validate": ["validate"]}
    steps: dict[str, list[str] | str] = {"repeated": again}
    for option, value in CONTRADICTIONS[task].items():
        for subcommand, start in starts.items():
            steps[f"{subcommand} --data.{option}"] = [*start, f"--data.{option}", value, *QUICK]
    outcomes = _drive(project, steps)
    assert outcomes.pop("repeated") == "ok"  # what says the same again contradicts nothing
    _assert_refused(outcomes, {step: step.split()[1] for step in outcomes})
    assert [path.name for path in (project / "runs").iterdir()] == ["own"]


SUMMARY = {"class_path": "lightning.pytorch.callbacks.ModelSummary", "init_args": {"max_depth": 2}}
OWN_CALLBACK = {"class_path": "seed.own_callback.OwnCallback"}


def test_callbacks_are_added_to_ours_and_replace_none_of_them(rendered: dict[str, Path], tmp_path: Path) -> None:
    project = _copy(rendered, "regression", tmp_path, own_callback="callback")
    for name, callbacks in (
        ("more", {"callbacks+": [SUMMARY, OWN_CALLBACK]}),
        ("instead", {"callbacks": [SUMMARY, OWN_CALLBACK]}),
    ):
        (project / f"configs/{name}.yaml").write_text(yaml.safe_dump({"trainer": callbacks}))
    added = {
        "short": ["--trainer.callbacks+=DeviceStatsMonitor"],
        "full": ["--trainer.callbacks+=lightning.pytorch.callbacks.ModelSummary"],
        "own": ["--trainer.callbacks+=seed.own_callback.OwnCallback"],
        "arguments": ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val_loss"],
        "more": ["--config", "configs/more.yaml"],
        "instead": ["--config", "configs/instead.yaml"],
    }
    steps = {name: ["fit", "--name", name, *SMOKE, *QUICK, *options] for name, options in added.items()}
    outcomes = _drive(project, steps)
    lost = {
        name: [file for file in [*KEPT, "predicted.png"] if not (project / "runs" / name / file).exists()]
        for name in added
    }
    _assert_ok(outcomes)
    assert lost == {name: [] for name in added}
    assert (project / "batches.txt").read_text() == "4"


def test_a_callback_that_cannot_be_made_is_refused_in_one_line(rendered: dict[str, Path], tmp_path: Path) -> None:
    project = _copy(rendered, "regression", tmp_path)
    names = {
        "EarlyStopping": "monitor",  # is missing
        "NoSuchCallback": "NoSuchCallback",
        "torch.nn.ReLU": "ReLU",  # is none
        "Timer": "Timer",  # has an argument that jsonargparse cannot write down
    }
    steps = {name: ["fit", *SMOKE, *QUICK, f"--trainer.callbacks+={name}"] for name in names}
    outcomes = _drive(project, steps)
    if outcomes["Timer"] == "ok":  # even better
        del outcomes["Timer"]
    _assert_refused(outcomes, names)


def test_another_optimizer_is_a_matter_of_configuration_and_outlives_the_process(
    rendered: dict[str, Path], tmp_path: Path
) -> None:
    project = _copy(rendered, "regression", tmp_path)
    _train(project, "fit", "--name", "own", *SMOKE, *QUICK, "--optimizer", "AdamW", "--optimizer.lr", "0.003")
    steps = {"trained with AdamW": "adamw", **LATER, "still AdamW": "adamw"}
    run = {"model": "seed.module.LitModel", "data": "seed.datamodule.LitDataModule", "data_arguments": None}
    _assert_ok(_drive(project, steps, run))


def test_a_checkpoint_of_a_trainer_made_by_hand_is_as_good_as_ours(rendered: dict[str, Path], tmp_path: Path) -> None:
    project = _copy(rendered, "regression", tmp_path)
    _assert_ok(_drive(project, {"fit": "fit_by_hand"}))
    steps: dict[str, list[str] | str] = {
        name: [name, "--ckpt_path", "by_hand/model.ckpt", "--trainer.accelerator", "cpu"]
        for name in ("validate", "test", "predict")
    }
    steps["load_run with the classes named"] = "loads_by_hand"
    _assert_ok(_drive(project, steps))
    assert list(project.glob("runs/*/predictions.csv"))
