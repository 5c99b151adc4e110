"""The math: what is learned, from which loss, by which optimiser.

Nothing here knows about devices, loops, files or logs. Those are the Trainer's, set in `configs/`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn, optim
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection, R2Score

from .engine.schedule import warmup_cosine


class LitModel(LightningModule):
    """Linear regression: one weight per feature, and a bias; or more layers, where `hidden` says so.

    Args:
        in_features: Width of a row; follows the data when started from the command line.
        out_features: Numbers predicted per row.
        hidden: Widths of layers in between, each followed by a ReLU.
        target_std: Standard deviation of the target, so that errors are in its own unit; follows the data.
        lr: Step size of gradient descent.
        schedule: Whether `lr` stays, or rises and falls.
        warmup: With "cosine", the share of the run in which `lr` rises.
    """

    def __init__(
        self,
        in_features: int = 10,
        out_features: int = 1,
        hidden: Sequence[int] = (),
        target_std: float = 1.0,
        lr: float = 0.01,
        schedule: Literal["constant", "cosine"] = "constant",
        warmup: float = 0.05,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.target_std = target_std
        self.lr = lr
        self.schedule = schedule
        self.warmup = warmup
        self.layer: nn.Module = nn.Linear(in_features, out_features)
        if hidden:
            layers = [part for pair in pairwise([in_features, *hidden]) for part in (nn.Linear(*pair), nn.ReLU())]
            self.layer = nn.Sequential(*layers, nn.Linear(hidden[-1], out_features))
        self.criterion = nn.MSELoss()
        metrics = MetricCollection(
            {"mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False), "r2": R2Score()}
        )
        self.val_metrics = metrics.clone(prefix="val_")
        self.test_metrics = metrics.clone(prefix="test_")

    def forward(self, x: Tensor) -> Tensor:
        """Map rows (batch, in_features) to predictions (batch, out_features)."""
        return self.layer(x)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        y_hat = self(x)
        loss = self.criterion(y_hat, y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        return self._evaluate(batch, "val", self.val_metrics)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        return self._evaluate(batch, "test", self.test_metrics)

    def predict_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        x, *_ = batch  # new data comes without a target
        return self(x)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = optim.SGD(self.parameters(), lr=self.lr)
        if self.schedule == "constant":
            return optimizer
        scheduler = warmup_cosine(optimizer, self.trainer.estimated_stepping_batches, self.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _evaluate(self, batch: tuple[Tensor, Tensor], stage: str, metrics: MetricCollection) -> dict[str, Tensor]:
        x, y = batch
        y_hat = self(x)
        # The mean over the whole set, on every number of processes.
        self.log(f"{stage}_loss", self.criterion(y_hat, y), prog_bar=True, batch_size=len(x), sync_dist=True)
        metrics.update(y_hat * self.target_std, y * self.target_std)
        self.log_dict(metrics, batch_size=len(x))
        return {"y_hat": y_hat, "y": y}
