"""The engine's training loop against Lightning's own: the same hooks, numbers and errors."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.profilers import SimpleProfiler
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanSquaredError

from {{ cookiecutter.project_slug }}.engine import training_loop
from {{ cookiecutter.project_slug }}.engine.optimizer import FusedOptimizer

pytestmark = pytest.mark.slow  # it changes with the engine or with Lightning

HOOKS = [name for name, _ in inspect.getmembers(Callback, inspect.isfunction) if name.startswith("on_")]
Event = tuple[Any, ...]


class Recorder(Callback):
    """Record every hook with what it sees."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        for name in HOOKS:
            setattr(self, name, self.recorder(name))

    def recorder(self, name: str) -> Callable[..., None]:
        def record(trainer: Trainer, model: Any, *args: Any) -> None:
            numbers = [torch.as_tensor(arg).item() for arg in args if isinstance(arg, (int, Tensor))]
            seen = {key: value.item() for key, value in trainer.callback_metrics.items()}
            self.events.append((name, model._current_fx_name, trainer.global_step, numbers, seen))

        return record


class Plain(LightningModule):
    """What Lightning's documentation teaches, with every way to log."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))
        self.error = MeanSquaredError()

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        x, y = batch
        y_hat = self.network(x)
        loss = nn.functional.mse_loss(y_hat, y)
        self.error(y_hat, y)
        self.log("train_loss", loss, prog_bar=True)
        self.log_dict({"mean": y_hat.mean(), "sum": y_hat.sum()}, on_step=True, on_epoch=True, batch_size=len(x))
        self.log("largest", y_hat.max(), reduce_fx="max", on_step=False, on_epoch=True)
        self.log("error", self.error, on_step=True, on_epoch=True)
        self.log("number", batch_idx / 2)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.log("at_the_end", outputs["loss"], on_epoch=True)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x, y = batch
        self.log("val_loss", nn.functional.mse_loss(self.network(x), y))

    def configure_optimizers(self) -> Any:
        optimizer = optim.Adam(self.parameters(), lr=0.01)
        return {"optimizer": optimizer, "lr_scheduler": optim.lr_scheduler.StepLR(optimizer, 1)}


class ReturnsDict(Plain):
    """Returns more than the loss."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        return {"loss": super().training_step(batch, batch_idx), "more": batch_idx}


class SkipsBatches(Plain):
    """Has no loss for every other batch."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) if batch_idx % 2 else None

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        pass


class SearchesAlongLines(Plain):
    """Computes several losses per step."""

    def configure_optimizers(self) -> Any:
        return optim.LBFGS(self.parameters(), max_iter=3)


class OwnTransfer(Plain):
    """Changes a batch on its device."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        x, y = batch
        return [2 * x, y]


class Fading(optim.SGD):
    """Halves the gradients instead of zeroing them."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad /= 2


class OwnZeroing(Plain):
    """Has an optimizer that zeroes gradients in its own way."""

    def configure_optimizers(self) -> Any:
        return Fading(self.parameters(), lr=0.01)


class OwnBackward(Plain):
    """Has its own backward pass and clipping."""

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        (2 * loss).backward()

    def configure_gradient_clipping(self, *args: Any, **kwargs: Any) -> None:
        nn.utils.clip_grad_value_(self.parameters(), 0.1)


class ByHand(Plain):
    """Optimizes by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss


class OwnOptimizerStep(Plain):
    """Steps by itself."""

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, closure: Any = None) -> None:
        optimizer.step(closure=closure)


class EndsEpochEarly(Plain):
    """Skips the rest of an epoch."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> Any:
        return -1 if batch_idx == 5 else None


def fit(folder: Path, model: Plain, lean: bool, **options: Any) -> tuple[list[Event], Any, str]:
    """Train; return all events, the parameters and the logged values."""
    rows = torch.randn(70, 5, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(rows[:, :4], rows[:, 4:])
    seed_everything(0)
    for layer in model.network:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    recorder, logger = Recorder(), CSVLogger(folder, name="lean" if lean else "stock", version="")
    settings: dict[str, Any] = {"max_epochs": 2, "log_every_n_steps": 3, "num_sanity_val_steps": 1}
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[recorder, *options.pop("callbacks", [])],
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings | options,
    )
    if lean:
        training_loop.install(trainer)
    loader = DataLoader(data, batch_size=10, shuffle=True)
    trainer.fit(model, loader, DataLoader(data, batch_size=10))
    metrics = Path(logger.log_dir, "metrics.csv")
    return recorder.events, model.state_dict(), metrics.read_text() if metrics.exists() else ""


def require_equal(one: tuple[list[Event], Any, str], other: tuple[list[Event], Any, str]) -> None:
    for event, expected in zip(one[0], other[0], strict=True):
        assert event == expected
    for name, value in one[1].items():
        assert torch.equal(value, other[1][name]), name
    assert one[2] == other[2]


@pytest.mark.filterwarnings("ignore")  # Lightning's own, about options that nobody would train with
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 3, "gradient_clip_val": 0.1},
        {"precision": "bf16-mixed", "max_steps": 9},
        {"val_check_interval": 3, "limit_train_batches": 6},
        {"fast_dev_run": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "kind",
    [Plain, ReturnsDict, SkipsBatches, SearchesAlongLines, OwnTransfer, OwnZeroing, OwnBackward],
    ids=lambda kind: kind.__name__,
)
def test_lean_loop_does_what_lightning_does(
    kind: type[Plain], options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fit(tmp_path, kind(), lean=False, **options)
    monkeypatch.setattr(_TrainingEpochLoop, "advance", None)  # nothing is left to Lightning's
    require_equal(fit(tmp_path, kind(), lean=True, **options), expected)


@pytest.mark.parametrize(
    ("kind", "options"),
    [(ByHand, {}), (OwnOptimizerStep, {}), (EndsEpochEarly, {}), (Plain, {"profiler": SimpleProfiler()})],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.filterwarnings("ignore")
def test_what_the_lean_loop_lacks_is_left_to_lightning(
    kind: type[Plain], options: dict[str, Any], tmp_path: Path
) -> None:
    require_equal(fit(tmp_path, kind(), True, **options), fit(tmp_path, kind(), False, **options))


@pytest.mark.parametrize(
    ("make", "is_fused"),
    [
        (lambda model: optim.SGD(model.parameters(), lr=0.1, momentum=0.9), True),
        (lambda model: optim.AdamW(model.parameters()), True),
        (lambda model: optim.AdamW(model.parameters(), foreach=True), None),
        (lambda model: optim.Adam(model.parameters(), fused=False), False),
        (lambda model: optim.RMSprop(model.parameters()), None),  # has no fused form
    ],
)
def test_optimizers_are_fused_where_the_model_leaves_it_open(make: Any, is_fused: bool | None, tmp_path: Path) -> None:
    class Model(Plain):
        def configure_optimizers(self) -> Any:
            self.optimizer = make(self)
            return self.optimizer

    model = Model()
    fit(tmp_path, model, lean=True, callbacks=[FusedOptimizer()])
    assert model.optimizer.param_groups[0].get("fused") == is_fused


def test_a_network_with_sparse_gradients_has_no_fused_optimizer(tmp_path: Path) -> None:
    class Sparse(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(3, 8, sparse=True)

        def training_step(self, batch: list[Tensor], batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) + self.embedding(torch.tensor([1])).sum()

        def configure_optimizers(self) -> Any:
            self.optimizer = optim.SGD(self.parameters(), lr=0.1)
            return self.optimizer

    model = Sparse()
    fit(tmp_path, model, lean=True, callbacks=[FusedOptimizer()])
    assert model.optimizer.param_groups[0]["fused"] is None
