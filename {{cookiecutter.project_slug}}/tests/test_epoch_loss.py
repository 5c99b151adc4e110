"""`train_loss_epoch` is the mean over all batches of an epoch, for every way to train, also across a resume."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK, read_column
from faults import ACCUMULATE, TRAINING, Record, read_losses, read_metrics
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset

from {{ cookiecutter.project_slug }}.engine import epoch_loss
from {{ cookiecutter.project_slug }}.engine.cli import run_cli
from {{ cookiecutter.project_slug }}.engine.epoch_loss import EpochLoss
from {{ cookiecutter.project_slug }}.engine.metrics import MetricsCSV
from {{ cookiecutter.project_slug }}.train import FACTS

COLUMN = "train_loss_epoch"


class Plain(LightningModule):
    """Returns its loss, and logs nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Linear(4, 1)
        self.seen: list[float] = []

    def loss(self, batch: list[Tensor]) -> Tensor:
        loss = self.network(batch[0]).pow(2).mean()
        self.seen.append(loss.item())
        return loss

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        return self.loss(batch)

    def configure_optimizers(self) -> Any:
        return optim.SGD(self.parameters(), lr=0.1)


class ReturnsDict(Plain):
    """Returns more than its loss."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        return {"loss": self.loss(batch), "more": batch_idx}


class LogsAnotherLoss(Plain):
    """Minimizes more than it logs."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.log("train/loss", loss)
        return loss + 1


class Manual(Plain):
    """Returns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        optimizer: Any = self.optimizers()
        loss = self.loss(batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        self.log("train_loss", loss)


class OwnMean(Plain):
    """Logs the mean of its loss, and so a column of this name."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.log("train_loss", loss, on_epoch=True)
        return loss


class Silent(Manual):
    """Neither logs nor returns a loss."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        self.loss(batch)


def _train(model: Plain, folder: Path, batches: int) -> list[float]:
    """Train two epochs, and return their logged means."""
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        accumulate_grad_batches=3 if model.automatic_optimization else 1,
        callbacks=[EpochLoss()],
        logger=MetricsCSV(folder, "run", "metrics.csv", append=True),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(TensorDataset(torch.randn(batches, 4))))
    path = folder / "run" / "metrics.csv"
    return read_column(path, COLUMN) if path.exists() else []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [Plain, ReturnsDict, LogsAnotherLoss, Manual, OwnMean])
def test_it_is_the_mean_of_all_batches_for_every_way_to_train(
    make: Callable[[], Plain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_loss, "ADD_EVERY", 5)
    model, batches = make(), 12
    logged = _train(model, tmp_path, batches)
    means = [sum(model.seen[start : start + batches]) / batches for start in (0, batches)]
    assert logged == pytest.approx(means, rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_without_any_loss_nothing_is_logged(tmp_path: Path) -> None:
    assert _train(Silent(), tmp_path, 3) == []


class Crash(Callback):
    """Fail at the start of a batch, counted from 1."""

    def __init__(self, batch: int) -> None:
        self.left = batch

    def on_train_batch_start(self, *args: Any) -> None:
        self.left -= 1
        if not self.left:
            raise RuntimeError("broken on purpose")


@pytest.mark.slow
def test_resumed_epoch_has_the_mean_of_all_its_batches(workdir: Path) -> None:
    def train(name: str, *args: str, callbacks: tuple[Callback, ...] = ()) -> None:
        run_cli(["fit", *args, *TRAINING], facts=FACTS, callbacks=[Record(f"{name}.txt"), *callbacks])

    train("base", "--name", "base")
    with pytest.raises(RuntimeError, match="broken on purpose"):
        train("resumed", "--name", "resumed", callbacks=(Crash(13),))  # within the second epoch, after a checkpoint
    train("resumed", "--ckpt_path", "last")
    losses = read_losses("base.txt")
    epochs = [[float.fromhex(values[0]) for (epoch, _), values in losses.items() if epoch == n] for n in range(3)]
    means = [ACCUMULATE * sum(each) / len(each) for each in epochs]  # Lightning divides the losses it hands on
    assert read_column("runs/base/metrics.csv", COLUMN) == pytest.approx(means, rel=1e-6)
    assert [row[COLUMN] for row in read_metrics("resumed")] == [row[COLUMN] for row in read_metrics("base")]


EACH_PROCESS = """
from pathlib import Path
from lightning.pytorch import Callback

class Each(Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        with Path(f"rank{trainer.global_rank}.txt").open("a") as file:
            file.write(f"{float(outputs['loss'])}\\n")
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs gloo over localhost")
def test_it_is_the_mean_over_all_processes(workdir: Path) -> None:
    Path("each.py").write_text(EACH_PROCESS)
    options = ["--config", "configs/strategy/ddp.yaml", "--trainer.devices", "2", "--trainer.callbacks+=each.Each"]
    command = [sys.executable, "-m", "{{ cookiecutter.project_slug }}.train", "fit"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(workdir), *sys.path])}
    command += ["--name", "first", *QUICK, *options]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    losses = [float(line) for rank in (0, 1) for line in Path(f"rank{rank}.txt").read_text().splitlines()]
    [logged] = read_column("runs/first/metrics.csv", COLUMN)
    assert logged == pytest.approx(sum(losses) / len(losses), rel=1e-5)
