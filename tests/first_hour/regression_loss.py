"""A model with its own metric, and a loss chosen by name."""

from typing import Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import Metric


class WithinOne(Metric):
    """The share of rows predicted within one standard deviation of the target."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("hits", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("rows", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, target: Tensor) -> None:
        self.hits += ((predicted - target).abs() < 1).sum()
        self.rows += target.numel()

    def compute(self) -> Tensor:
        return self.hits / self.rows


class OwnModel(LightningModule):
    """A linear layer under the loss of one's choice."""

    def __init__(self, in_features: int, loss: Literal["l1", "huber"] = "l1", lr: float = 1e-2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.head = nn.Linear(in_features, 1)
        self.loss = {"l1": nn.L1Loss, "huber": nn.HuberLoss}[loss]()
        self.val_within = WithinOne()
        self.test_within = WithinOne()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return self.loss(self(x), y)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        y_hat = self(x)
        loss = self.loss(y_hat, y)
        self.val_within(y_hat, y)
        self.log("val_loss", loss)
        self.log("val_within", self.val_within)
        return loss

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x, y = batch
        y_hat = self(x)
        self.test_within(y_hat, y)
        self.log_dict({"test_loss": self.loss(y_hat, y), "test_within": self.test_within})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)
