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
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from .engine.errors import require_between
from .engine.schedule import warmup_cosine
from .network import TorchvisionNet, make_network


class LitModel(LightningModule):
    """Classify images.

    Args:
        in_channels: Color channels; taken from the data on the command line.
        num_classes: Number of classes; taken from the data.
        class_weights: Weight of every class in the loss; taken from the data.
        network: "residual", or a classifier of torchvision, such as "resnet18".
        weights: Pretrained torchvision weights to start from, such as "DEFAULT".
        width: Channels of the first block of "residual".
        depth: Number of blocks of "residual".
        lr: Learning rate.
        weight_decay: Weight decay.
        schedule: Learning rate schedule.
        warmup: Fraction of the run that warms up, under "cosine".
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 10,
        class_weights: Sequence[float] | None = None,
        network: str = "residual",
        weights: str | None = None,
        width: int = 32,
        depth: int = 3,
        lr: float = 0.003,
        weight_decay: float = 0.01,
        schedule: Literal["constant", "cosine"] = "constant",
        warmup: float = 0.05,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        require_between("model", 0, None, lr=lr, weight_decay=weight_decay)
        require_between("model", 0, 1, warmup=warmup)
        self.lr = lr
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.network = make_network(network, in_channels, num_classes, width, depth, weights)
        weight = None if class_weights is None else torch.tensor(class_weights)
        self.criterion = nn.CrossEntropyLoss(weight)
        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(num_classes, average="micro"),
                "f1": MulticlassF1Score(num_classes, average="macro"),
            }
        )
        self.val_metrics = metrics.clone(prefix="val_")
        self.test_metrics = metrics.clone(prefix="test_")

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, h, w) to logits (batch, num_classes)."""
        return self.network(x)

    def setup(self, stage: str) -> None:
        """Start from pretrained weights; a checkpoint that is resumed or evaluated replaces them."""
        if stage == "fit" and isinstance(self.network, TorchvisionNet) and not self.trainer.ckpt_path:
            self.network.load_pretrained()

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
        optimizer = optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        if self.schedule == "constant":
            return optimizer
        scheduler = warmup_cosine(optimizer, self.trainer.estimated_stepping_batches, self.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _evaluate(self, batch: tuple[Tensor, Tensor], stage: str, metrics: MetricCollection) -> dict[str, Tensor]:
        x, y = batch
        y_hat = self(x)
        # sync_dist: the mean over all images, on any number of processes
        self.log(f"{stage}_loss", self.criterion(y_hat, y), prog_bar=True, batch_size=len(x), sync_dist=True)
        metrics.update(y_hat, y)
        self.log_dict(metrics, batch_size=len(x))
        return {"y_hat": y_hat, "y": y}  # for report.py
