"""A second model for images: two convolutions."""

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class OwnModel(LightningModule):
    """Convolutions, mean over the pixels, logits."""

    def __init__(self, num_classes: int = 10, channels: int = 4, rate: float = 1e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.body = nn.Sequential(
            nn.LazyConv2d(channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()
        )
        self.head = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.to(self.head.weight.dtype)).mean(dim=(2, 3)))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "train")

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "val")

    def test_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "test")

    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self(batch).cpu()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams.rate)

    def _loss(self, batch: list[Tensor], stage: str) -> Tensor:
        x, y = batch
        loss = cross_entropy(self(x), y)
        self.log(f"{stage}_loss", loss)
        return loss
