"""The math: what is learned, from which loss, by which optimiser.

Nothing here knows about devices, loops, files or logs. Those are the Trainer's, set in `configs/`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn, optim
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC, MulticlassF1Score

from .engine.schedule import warmup_cosine

Batch = tuple[Tensor, Tensor, Tensor]  # numbers, codes of categories, class


class TableNet(nn.Module):
    """Layers over a row's numbers, and over a vector that is learnt for every category.

    Args:
        in_features: Numbers in a row.
        cardinalities: Categories known of every column of them.
        num_classes: Classes to tell apart.
        hidden: Widths of the layers in between.
        dropout: Share of each of them that is left out at every step of training.
    """

    def __init__(
        self, in_features: int, cardinalities: Sequence[int], num_classes: int, hidden: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        # 0 stands for what was never seen in training, and stays a vector of zeros.
        self.embeddings = nn.ModuleList(
            nn.Embedding(known + 1, _embedding_width(known), padding_idx=0) for known in cardinalities
        )
        widths = [in_features + sum(map(_embedding_width, cardinalities)), *hidden]
        layers = [
            part for pair in pairwise(widths) for part in (nn.Linear(*pair), nn.ReLU(), nn.Dropout(dropout))
        ]  # fmt: skip
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """Map rows to scores; see `LitModel.forward`."""
        vectors = [embedding(code) for embedding, code in zip(self.embeddings, codes.T, strict=True)]
        return self.layers(torch.cat([numbers, *vectors], dim=1))


def _embedding_width(known: int) -> int:
    """Follow the rule of thumb of fastai, https://docs.fast.ai/tabular.model.html#emb_sz_rule."""
    return min(600, round(1.6 * (known + 1) ** 0.56))


class LitModel(LightningModule):
    """A class for every row: fully connected layers, with embeddings for categories.

    Args:
        in_features: Numbers in a row; follows the data when started from the command line.
        cardinalities: Categories known of every column of them; follows the data.
        num_classes: Classes to tell apart; follows the data.
        hidden: Widths of the layers in between.
        dropout: Share of each of them that is left out at every step of training.
        lr: Step size of gradient descent.
        weight_decay: How strongly weights are drawn to 0.
        schedule: Whether `lr` stays, or rises and falls.
        warmup: With "cosine", the share of the run in which `lr` rises.
    """

    def __init__(
        self,
        in_features: int = 30,
        cardinalities: Sequence[int] = (),
        num_classes: int = 2,
        hidden: Sequence[int] = (64, 64),
        dropout: float = 0.1,
        lr: float = 0.003,
        weight_decay: float = 0.01,
        schedule: Literal["constant", "cosine"] = "constant",
        warmup: float = 0.05,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.network = TableNet(in_features, cardinalities, num_classes, hidden, dropout)
        self.criterion = nn.CrossEntropyLoss()
        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(num_classes, average="micro"),
                "f1": MulticlassF1Score(num_classes, average="macro"),
                "auroc": MulticlassAUROC(num_classes),
            }
        )
        self.val_metrics = metrics.clone(prefix="val_")
        self.test_metrics = metrics.clone(prefix="test_")

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """Map numbers (batch, in_features) and codes (batch, len(cardinalities)) to scores (batch, num_classes)."""
        return self.network(numbers, codes)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        numbers, codes, y = batch
        y_hat = self(numbers, codes)
        loss = self.criterion(y_hat, y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._evaluate(batch, "val", self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._evaluate(batch, "test", self.test_metrics)

    def predict_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        numbers, codes, *_ = batch  # new data comes without a target
        return self(numbers, codes)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        if self.schedule == "constant":
            return optimizer
        scheduler = warmup_cosine(optimizer, self.trainer.estimated_stepping_batches, self.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _evaluate(self, batch: Batch, stage: str, metrics: MetricCollection) -> dict[str, Tensor]:
        numbers, codes, y = batch
        y_hat = self(numbers, codes)
        # The mean over the whole set, on every number of processes.
        self.log(f"{stage}_loss", self.criterion(y_hat, y), prog_bar=True, batch_size=len(y), sync_dist=True)
        metrics.update(y_hat, y)
        self.log_dict(metrics, batch_size=len(y))
        return {"y_hat": y_hat, "y": y}
