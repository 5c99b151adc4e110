"""A second model for tables, which never calls `save_hyperparameters`."""

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class OwnModel(LightningModule):
    """Numbers and codes side by side, through one hidden layer."""

    def __init__(self, num_classes: int, width: int = 16, rate: float = 1e-3) -> None:
        super().__init__()
        self.body = nn.LazyLinear(width)
        self.head = nn.Linear(width, num_classes)
        self.rate = rate

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        x = torch.cat([numbers, codes.to(self.head.weight.dtype)], dim=1)
        return self.head(self.body(x).relu())

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "train")

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "val")

    def test_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "test")

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self(batch[0], batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.rate)

    def _loss(self, batch: list[Tensor], stage: str) -> Tensor:
        numbers, codes, y = batch
        loss = cross_entropy(self(numbers, codes), y)
        self.log(f"{stage}_loss", loss)
        return loss
