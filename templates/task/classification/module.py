"""The math: the model, its loss and its optimizer. The network is in `network.py`.

Devices, loops, files and loggers are the Trainer's, set in `configs/`.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn, optim
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryAveragePrecision,
    BinaryPrecision,
    BinaryRecall,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
)

from .engine.errors import require_between
from .engine.schedule import warmup_cosine
from .network import TableNet

Batch = tuple[Tensor, Tensor, Tensor]  # numbers, codes of categories, class numbers


class LitModel(LightningModule):
    """Classify the rows of a table.

    Args:
        in_features: Columns of numbers; taken from the data on the command line.
        cardinalities: Categories known in every column of categories; taken from the data.
        num_classes: Number of classes; taken from the data.
        class_weights: Weight of every class in the loss; taken from the data.
        positive_class: Class that precision, recall and average precision are about; taken from the data.
        hidden: Hidden layer widths.
        dropout: Dropout probability.
        lr: Learning rate.
        weight_decay: Weight decay.
        schedule: Learning rate schedule.
        warmup: Fraction of the run that warms up, under "cosine".
    """

    def __init__(
        self,
        in_features: int = 30,
        cardinalities: Sequence[int] = (),
        num_classes: int = 2,
        class_weights: Sequence[float] | None = None,
        positive_class: int | None = None,
        hidden: Sequence[int] = (64, 64),
        dropout: float = 0.1,
        lr: float = 0.003,
        weight_decay: float = 0.01,
        schedule: Literal["constant", "cosine"] = "constant",
        warmup: float = 0.05,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        require_between("model", 0, None, lr=lr, weight_decay=weight_decay)
        require_between("model", 0, 1, dropout=dropout, warmup=warmup)
        self.positive_class = positive_class
        self.lr = lr
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.network = TableNet(in_features, cardinalities, num_classes, hidden, dropout)
        weight = None if class_weights is None else torch.tensor(class_weights)
        self.criterion = nn.CrossEntropyLoss(weight)
        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(num_classes, average="micro"),
                "f1": MulticlassF1Score(num_classes, average="macro"),
                "auroc": MulticlassAUROC(num_classes),
            }
        )
        self.val_metrics = metrics.clone(prefix="val_")
        self.test_metrics = metrics.clone(prefix="test_")
        of_positive = MetricCollection(
            {"precision": BinaryPrecision(), "recall": BinaryRecall(), "average_precision": BinaryAveragePrecision()}
        )
        self.val_positive = None if positive_class is None else of_positive.clone(prefix="val_")
        self.test_positive = None if positive_class is None else of_positive.clone(prefix="test_")

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """Map numbers (batch, in_features) and codes (batch, len(cardinalities)) to logits (batch, num_classes)."""
        return self.network(numbers, codes)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        numbers, codes, y = batch
        loss = self.criterion(self(numbers, codes), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._evaluate(batch, "val", self.val_metrics, self.val_positive)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._evaluate(batch, "test", self.test_metrics, self.test_positive)

    def predict_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        numbers, codes, *_ = batch  # some datasets also yield targets
        return self(numbers, codes)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        if self.schedule == "constant":
            return optimizer
        scheduler = warmup_cosine(optimizer, self.trainer.estimated_stepping_batches, self.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _evaluate(
        self, batch: Batch, stage: str, metrics: MetricCollection, of_positive: MetricCollection | None
    ) -> dict[str, Tensor]:
        numbers, codes, y = batch
        y_hat = self(numbers, codes)
        # sync_dist: the mean over all rows, on any number of processes
        self.log(f"{stage}_loss", self.criterion(y_hat, y), prog_bar=True, batch_size=len(y), sync_dist=True)
        metrics.update(y_hat, y)
        self.log_dict(metrics, batch_size=len(y))
        if of_positive is not None and self.positive_class is not None:
            of_positive.update(y_hat.softmax(dim=1)[:, self.positive_class], (y == self.positive_class).long())
            self.log_dict(of_positive, batch_size=len(y))
        return {"y_hat": y_hat, "y": y}  # for report.py
