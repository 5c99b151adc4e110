"""A model with two optimizers and manual optimization."""

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import mse_loss


class OwnModel(LightningModule):
    """One optimizer for the body, one for the head."""

    def __init__(self, in_features: int, body_lr: float = 1e-3, head_lr: float = 1e-2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.body = nn.Linear(in_features, 8)
        self.head = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x)))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x, y = batch
        optimizers = self.optimizers()
        loss = mse_loss(self(x), y)
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in optimizers:
            optimizer.step()
        self.log("train_loss", loss)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = mse_loss(self(x), y)
        self.log("val_loss", loss)
        return loss

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        x, y = batch
        self.log("test_loss", mse_loss(self(x), y))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        body = torch.optim.Adam(self.body.parameters(), lr=self.hparams.body_lr)
        head = torch.optim.SGD(self.head.parameters(), lr=self.hparams.head_lr, momentum=0.9)
        return [body, head]
