"""A second language model: each token predicted from the one before and its position."""

from typing import NamedTuple

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class OwnModel(LightningModule):
    """Embeddings of tokens and positions, straight to logits; never calls `save_hyperparameters`."""

    def __init__(self, vocab_size: int, features: int = 16, positions: int = 512, rate: float = 1e-3) -> None:
        super().__init__()
        self.token = nn.Embedding(vocab_size, features)
        self.position = nn.Embedding(positions, features)
        self.head = nn.Linear(features, vocab_size)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        _, t = x.shape
        return self.head(self.token(x) + self.position(torch.arange(t, device=x.device)))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "train")

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "val")

    def test_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "test")

    def predict_step(self, batch: NamedTuple, batch_idx: int) -> Tensor:
        return self(batch.tokens)[:, -1].argmax(dim=-1).cpu()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.rate)

    def _loss(self, batch: list[Tensor], stage: str) -> Tensor:
        x, y = batch
        loss = cross_entropy(self(x).flatten(0, 1), y.flatten())
        self.log(f"{stage}_loss", loss)
        return loss
