"""The overlays in configs/callbacks/, each beside the callbacks of every run."""

import json
from pathlib import Path

import pytest
import torch
from conftest import QUICK, error_line, read_checkpoint, read_column
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from {{ cookiecutter.project_slug }}.engine.callbacks import ActivationCheckpointing
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


class Deep(LightningModule):
    """A model with layers that are worth computing again."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 8)) for _ in range(3)
        )

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        for layer in self.layers:
            batch = batch + layer(batch)
        return batch.square().mean()


def _kept_and_gradients(*callbacks: ActivationCheckpointing) -> tuple[int, dict[str, torch.Tensor]]:
    """Return the number of values that a step keeps for its backward pass, and its gradients."""
    torch.manual_seed(0)
    model, kept = Deep(), 0
    for callback in callbacks:
        callback.setup(Trainer(accelerator="cpu", logger=False), model, "fit")

    def pack(value: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += value.numel()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        loss = model.training_step(torch.randn(16, 8), 0)
    loss.backward()
    names = (name.replace("_checkpoint_wrapped_module.", "") for name, _ in model.named_parameters())
    found = zip(names, model.parameters(), strict=True)
    return kept, {name: value.grad for name, value in found if value.grad is not None}


@pytest.mark.parametrize("layers", [None, ["layers.0", "layers.1", "layers.2"]])
def test_activation_checkpointing_keeps_less_and_changes_no_gradient(layers: list[str] | None) -> None:
    kept, gradients = _kept_and_gradients()
    kept_now, gradients_now = _kept_and_gradients(ActivationCheckpointing(layers))
    assert kept_now < kept / 3
    assert gradients.keys() == gradients_now.keys()
    assert all(torch.equal(gradients_now[name], gradients[name]) for name in gradients)


def test_activation_checkpointing_trains_and_names_layers_it_does_not_find(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _fit("first", "activation_checkpointing", "--trainer.callbacks.layers", "[criterion]")
    main(["test", *QUICK])  # by the same names of parameters
    overlay = ["--config", "configs/callbacks/activation_checkpointing.yaml"]
    line = error_line(["fit", *QUICK, *overlay, "--trainer.callbacks.layers", "[nowhere]"], capsys)
    assert line.startswith("error: ActivationCheckpointing: no layer nowhere; the model has ")


def test_profile_is_a_trace_and_a_table(workdir: Path) -> None:
    main(["fit", "--name", "first", "--config", "configs/debug/profile.yaml", *QUICK, "--trainer.callbacks.steps", "2"])
    trace = json.loads(Path("runs/first/trace-0.json").read_text())
    steps = {event["name"] for event in trace["traceEvents"] if event["name"].startswith("ProfilerStep")}
    assert steps == {"ProfilerStep#3", "ProfilerStep#4"}
    assert "Optimizer.step" in Path("runs/first/profile-0.txt").read_text()


def test_throughput_is_logged(workdir: Path) -> None:
    folder = _fit("first", "throughput", "--trainer.log_every_n_steps", "1", "--trainer.limit_train_batches", "12")
    assert min(read_column(folder / "metrics.csv", "train/device/samples_per_sec")) > 0


def test_config_that_replaces_the_callbacks_keeps_checkpoints_and_curves(workdir: Path) -> None:
    Path("own.yaml").write_text("trainer:\n  callbacks:\n    - class_path: Timer\n")
    main(["fit", "--name", "first", *QUICK, "--config", "own.yaml", "--trainer.limit_train_batches", "2"])
    for file in ("curves.png", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert Path("runs/first", file).exists(), file
