"""torchvision's ResNet-18, wrapped in a LightningModule that never calls `save_hyperparameters`."""

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18


class OwnModel(LightningModule):
    """ResNet-18 with a first layer for small grayscale images."""

    def __init__(self, classes: int = 10, rate: float = 1e-3) -> None:
        super().__init__()
        self.resnet = resnet18(num_classes=classes)
        self.resnet.conv1 = nn.Conv2d(1, 64, 3, padding=1, bias=False)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return self.resnet(x)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return cross_entropy(self(x), y)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = cross_entropy(self(x), y)
        self.log("val_loss", loss)
        return loss

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x, y = batch
        self.log("test_loss", cross_entropy(self(x), y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.rate)
