"""A second model with other arguments, which never calls `save_hyperparameters`."""

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import mse_loss


class OwnModel(LightningModule):
    """Two layers that take the number of features from the first batch."""

    def __init__(self, width: int = 16, lr: float = 1e-3) -> None:
        super().__init__()
        self.body = nn.LazyLinear(width)
        self.head = nn.Linear(width, 1)
        self.lr = lr

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.to(self.head.weight.dtype)).relu())

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = mse_loss(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = mse_loss(self(x), y)
        self.log("val_loss", loss, prog_bar=True)
        return loss

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x, y = batch
        self.log("test_loss", mse_loss(self(x), y))

    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self(batch[0] if isinstance(batch, list) else batch).cpu()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)
