"""What every model must keep: it learns, and its checkpoints are safe to load."""

import io
from typing import Any

import torch
from examples import make_batch, make_model
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader


class Losses(Callback):
    """Keep the loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        self.values.append(outputs["loss"].item())


def test_one_batch_can_be_overfitted() -> None:
    losses = Losses()
    trainer = Trainer(
        accelerator="cpu",
        max_steps=200,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[losses],
    )
    trainer.fit(make_model(), DataLoader([make_batch()] * 200, batch_size=None))  # type: ignore[arg-type]
    assert losses.values[-1] < 0.1 * losses.values[0]


def test_every_parameter_gets_a_gradient() -> None:
    model = make_model()
    model.training_step(make_batch(), 0).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_hyperparameters_load_with_weights_only() -> None:
    hparams = dict(make_model().hparams)
    file = io.BytesIO()
    torch.save(hparams, file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == hparams
