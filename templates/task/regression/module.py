"""The math: the model, its loss and its optimizer.

Devices, loops, files and loggers are the Trainer's, set in `configs/`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn, optim
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection, R2Score

from .engine.errors import require_positive
from .engine.schedule import warmup_cosine


class LitModel(LightningModule):
    """Linear regression, or a multilayer perceptron if `hidden` is given.

    Args:
        in_features: Inputs per row; taken from the data on the command line.
        out_features: Outputs per row.
        hidden: Hidden layer widths, each layer followed by a ReLU.
        target_std: Standard deviation of the target, to report errors in its own unit; taken from the data.
        lr: Learning rate.
        schedule: Learning rate schedule.
        warmup: Fraction of the run that warms up, under "cosine".
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
        require_positive("model", hidden=hidden)
        self.target_std = target_std
        self.lr = lr
        self.schedule = schedule
        self.warmup = warmup
        self.network: nn.Module = nn.Linear(in_features, out_features)
        if hidden:
            layers = [part for pair in pairwise([in_features, *hidden]) for part in (nn.Linear(*pair), nn.ReLU())]
            self.network = nn.Sequential(*layers, nn.Linear(hidden[-1], out_features))
        self.criterion = nn.MSELoss()
        metrics = MetricCollection(
            {"mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False), "r2": R2Score()}
        )
        self.val_metrics = metrics.clone(prefix="val_")
        self.test_metrics = metrics.clone(prefix="test_")

    def forward(self, x: Tensor) -> Tensor:
        """Map rows (batch, in_features) to predictions (batch, out_features)."""
        return self.network(x)

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

    def _evaluate(self, batch: tuple[Tensor, Tensor], stage: str, metrics: MetricCollection) -> dict[str, Tensor]:
        x, y = batch
        y_hat = self(x)
        # sync_dist: the mean over all rows, on any number of processes
        self.log(f"{stage}_loss", self.criterion(y_hat, y), prog_bar=True, batch_size=len(x), sync_dist=True)
        metrics.update(y_hat * self.target_std, y * self.target_std)
        self.log_dict(metrics, batch_size=len(x))
        return {"y_hat": y_hat, "y": y}  # for report.py
