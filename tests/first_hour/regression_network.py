"""A network from elsewhere, named in the config and wrapped in a LightningModule."""

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import mse_loss


class OwnModel(LightningModule):
    """Any `nn.Module` that maps rows to one number."""

    def __init__(self, network: nn.Module, lr: float = 1e-2) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["network"])  # as Lightning advises: its weights are in the state dict
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "train")

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "val")

    def test_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

    def _loss(self, batch: list[Tensor], stage: str) -> Tensor:
        x, y = batch
        loss = mse_loss(self(x), y)
        self.log(f"{stage}_loss", loss)
        return loss
