"""The math: the model, its loss and its optimizer.

Devices, loops, files and loggers are the Trainer's, set in `configs/`.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn, optim
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection, R2Score

from .engine.errors import require_between, require_positive
from .engine.schedule import warmup_cosine


class LitModel(LightningModule):
    """Linear regression, or a multilayer perceptron if `hidden` is given.

    Args:
        in_features: Inputs per row; taken from the data on the command line, like the next four.
        target_names: Names of the targets, one output each.
        target_mean: Mean of each target (of its logarithm under `log_target`), to report errors in its own unit.
        target_std: Standard deviation of each target, likewise.
        log_target: Whether targets are standardized logarithms, log(1 + target).
        hidden: Hidden layer widths, each layer followed by a ReLU.
        lr: Learning rate.
        schedule: Learning rate schedule.
        warmup: Fraction of the run that warms up, under "cosine".
    """

    def __init__(
        self,
        in_features: int = 10,
        target_names: Sequence[str] = ("target",),
        target_mean: Sequence[float] = (0.0,),
        target_std: Sequence[float] = (1.0,),
        log_target: bool = False,
        hidden: Sequence[int] = (),
        lr: float = 0.01,
        schedule: Literal["constant", "cosine"] = "constant",
        warmup: float = 0.05,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        require_positive("model", hidden=hidden)
        require_between("model", 0, None, lr=lr)
        require_between("model", 0, 1, warmup=warmup)
        self.target_mean = nn.Buffer(torch.tensor(target_mean), persistent=False)
        self.target_std = nn.Buffer(torch.tensor(target_std), persistent=False)
        self.log_target = log_target
        self.lr = lr
        self.schedule = schedule
        self.warmup = warmup
        self.network: nn.Module = nn.Linear(in_features, len(target_names))
        if hidden:
            layers = [part for pair in pairwise([in_features, *hidden]) for part in (nn.Linear(*pair), nn.ReLU())]
            self.network = nn.Sequential(*layers, nn.Linear(hidden[-1], len(target_names)))
        self.criterion = nn.MSELoss()
        metrics = MetricCollection(
            {"mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False), "r2": R2Score()}
        )
        suffixes = [f"_{name}" for name in target_names] if len(target_names) > 1 else [""]
        self.val_metrics = nn.ModuleList(metrics.clone("val_", suffix) for suffix in suffixes)
        self.test_metrics = nn.ModuleList(metrics.clone("test_", suffix) for suffix in suffixes)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows (batch, in_features) to standardized predictions (batch, targets)."""
        return self.network(x)

    def in_own_unit(self, y: Tensor) -> Tensor:
        """Map standardized targets (batch, targets) to their own units."""
        y = y * self.target_std + self.target_mean
        return y.expm1() if self.log_target else y

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = self.criterion(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        return self._evaluate(batch, "val", self.val_metrics)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        return self._evaluate(batch, "test", self.test_metrics)

    def predict_step(self, batch: Tensor | list[Tensor], batch_idx: int) -> Tensor:
        return self(batch if isinstance(batch, Tensor) else batch[0])  # some datasets also yield targets

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = optim.SGD(self.parameters(), lr=self.lr)
        if self.schedule == "constant":
            return optimizer
        scheduler = warmup_cosine(optimizer, self.trainer.estimated_stepping_batches, self.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _evaluate(self, batch: tuple[Tensor, Tensor], stage: str, metrics: Iterable[Any]) -> dict[str, Tensor]:
        x, y = batch
        y_hat = self(x)
        # sync_dist: the mean over all rows, on any number of processes
        self.log(f"{stage}_loss", self.criterion(y_hat, y), prog_bar=True, batch_size=len(x), sync_dist=True)
        columns = zip(metrics, self.in_own_unit(y_hat).T, self.in_own_unit(y).T, strict=True)
        for metrics_of_target, predicted, true in columns:
            metrics_of_target.update(predicted, true)
            self.log_dict(metrics_of_target, batch_size=len(x))
        return {"y_hat": y_hat, "y": y}  # for report.py
