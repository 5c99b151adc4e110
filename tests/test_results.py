"""Every task trains and reaches the results that its README and train.yaml state."""

import csv
import re
from pathlib import Path

import pytest

from conftest import CHOICES, VERIFIED, Render, generate, in_project, train


def results(path: Path) -> dict[str, float]:
    """Read the last value of every metric."""
    with path.open(newline="") as file:
        return {name: float(value) for row in csv.DictReader(file) for name, value in row.items() if value}


@pytest.mark.parametrize("task", CHOICES["task"])
def test_every_task_has_trained_once_it_is_generated(task: str, tmp_path: Path) -> None:
    result = generate(tmp_path, f"task={task}", "logger=csv")
    assert result.returncode == 0, result.stdout
    assert VERIFIED.search(result.stdout), result.stdout


@pytest.mark.parametrize(
    ("task", "logger"), [("classification", "mlflow"), ("image_classification", "wandb"), ("language_model", "csv")]
)
def test_every_task_passes_its_own_tests_with_every_logger(task: str, logger: str, render: Render) -> None:
    assert " passed" in in_project(render(task=task, logger=logger), "-m", "pytest", "-q").stdout


def test_regression_comes_close_to_least_squares_and_the_readme_says_how_close(render: Render) -> None:
    project = render(task="regression", logger="csv")
    train(project, "fit", "--name", "first")
    train(project, "test")
    ours = results(project / "runs/first/metrics-test.csv")["test_rmse"]
    code = """
from my_lightning_project import load_run
from sklearn.linear_model import LinearRegression
data = load_run("runs/first").datamodule
data.setup("test")
fit, test = data.splits["train"], data.splits["test"]
[x] = data.x
[std] = data.target_std
theirs = LinearRegression().fit(x[fit], data.y[fit]).predict(x[test])
print(float(((data.y[test] - theirs) ** 2).mean().sqrt() * std))
"""
    least_squares = float(in_project(project, "-c", code).stdout.splitlines()[-1])
    assert ours == pytest.approx(least_squares, rel=0.02)
    readme = (project / "README.md").read_text()
    promised = re.search(r"RMSE of ([\d.]+) .* `LinearRegression` has ([\d.]+\d)", readme, flags=re.DOTALL)
    assert promised
    assert (ours, least_squares) == pytest.approx([float(number) for number in promised.groups()], abs=0.1)


def test_classification_reaches_its_accuracy(render: Render) -> None:
    project = render(task="classification", logger="csv")
    train(project, "fit", "--name", "first")
    train(project, "test")
    assert results(project / "runs/first/metrics-test.csv")["test_accuracy"] >= 0.95


def test_image_classification_reaches_its_accuracy(render: Render) -> None:
    project = render(task="image_classification", logger="csv")
    train(project, "fit", "--name", "first")
    train(project, "test")
    assert results(project / "runs/first/metrics-test.csv")["test_accuracy"] >= 0.98


def test_the_language_model_beats_character_frequencies_after_its_smoke_epoch(render: Render) -> None:
    project = render(task="language_model", logger="csv")
    train(project, "fit", "--name", "first", "--config", "configs/smoke.yaml", "--trainer.limit_val_batches", "1.0")
    code = """
from my_lightning_project.datamodule import LitDataModule
data = LitDataModule()
data.setup("fit")
train, val, test = (starts.start for starts in data.splits.values())
counts = data.corpus[train:val].long().bincount(minlength=data.vocab_size).double() + 1
print(-(counts / counts.sum())[data.corpus[val:test].long()].log().mean().item())
"""
    unigram = float(in_project(project, "-c", code).stdout.splitlines()[-1])
    assert unigram == pytest.approx(3.22, abs=0.05)  # the README's figure, for this Python's text
    assert results(project / "runs/first/metrics.csv")["val_loss"] < unigram - 0.3


def test_a_compiled_model_reaches_the_same_loss(render: Render) -> None:
    project = render(task="regression", logger="csv")
    train(project, "fit", "--name", "plain", "--config", "configs/smoke.yaml")
    train(
        project,
        "fit",
        "--name",
        "compiled",
        *("--config", "configs/smoke.yaml", "--config", "configs/callbacks/compile.yaml"),
    )
    plain, compiled = (results(project / f"runs/{name}/metrics.csv")["val_loss"] for name in ("plain", "compiled"))
    assert compiled == pytest.approx(plain, rel=1e-4)
