"""The overlays in configs/callbacks/, each beside the callbacks of every run."""

from pathlib import Path

import pytest
import torch
from conftest import QUICK, read_checkpoint, read_column
from torch import nn

from {{ cookiecutter.project_slug }}.module import LitModel
from {{ cookiecutter.project_slug }}.train import main

pytestmark = pytest.mark.slow  # it changes with the engine or with Lightning


def _fit(name: str, overlay: str, *args: str) -> Path:
    """Train with an overlay, and check that the callbacks of every run are still there."""
    main(["fit", "--name", name, *QUICK, "--config", f"configs/callbacks/{overlay}.yaml", *args])
    folder = Path("runs", name)
    for file in ("curves.png", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (folder / file).exists(), file
    assert "lr-" in (folder / "metrics.csv").read_text()  # from the LearningRateMonitor in train.yaml
    return folder


def test_training_stops_when_validation_no_longer_improves(workdir: Path) -> None:
    small = ["--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1", "--trainer.max_epochs", "9"]
    patience = ["--trainer.callbacks.patience", "1", "--trainer.callbacks.min_delta", "100"]
    folder = _fit("first", "early_stopping", *small, *patience)
    assert read_checkpoint(folder / "checkpoints/last.ckpt")["epoch"] == 2


def test_averaged_weights_are_validated_and_saved(workdir: Path) -> None:
    folder = _fit("first", "ema")
    content = read_checkpoint(folder / "checkpoints/best.ckpt")
    averaged, current = content["state_dict"], content["current_model_state"]
    assert not all(torch.equal(averaged[key], current[key]) for key in averaged)
    main(["validate", *QUICK])
    last = read_column(folder / "metrics.csv", "val_loss")[-1]
    assert read_column(folder / "metrics-validate.csv", "val_loss") == [pytest.approx(last)]


def test_compiled_model_learns_the_same(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backends = []

    def compile(model: nn.Module, backend: str) -> None:
        backends.append(backend)
        nn.Module.compile(model, backend=backend)

    monkeypatch.setattr(LitModel, "compile", compile)
    same = ["--model.lr", "0.002", "--model.schedule", "constant"]  # as in runs/first
    folder = _fit("compiled", "compile", "--trainer.callbacks.backend", "eager", *same)  # needs no compiler
    assert backends == ["eager"]
    plain, compiled = (read_checkpoint(run / "checkpoints/last.ckpt")["state_dict"] for run in (trained, folder))
    assert plain.keys() == compiled.keys()
    for key, value in plain.items():
        torch.testing.assert_close(compiled[key], value)


def test_throughput_is_logged(workdir: Path) -> None:
    folder = _fit("first", "throughput", "--trainer.log_every_n_steps", "1", "--trainer.limit_train_batches", "12")
    assert min(read_column(folder / "metrics.csv", "train/device/samples_per_sec")) > 0


def test_config_that_replaces_the_callbacks_keeps_checkpoints_and_curves(workdir: Path) -> None:
    Path("own.yaml").write_text("trainer:\n  callbacks:\n    - class_path: Timer\n")
    main(["fit", "--name", "first", *QUICK, "--config", "own.yaml", "--trainer.limit_train_batches", "2"])
    for file in ("curves.png", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert Path("runs/first", file).exists(), file
