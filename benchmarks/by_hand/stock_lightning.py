"""A multilayer perceptron the way Lightning's documentation teaches it.

    PYTHONPATH=benchmarks python benchmarks/by_hand/stock_lightning.py --path table.csv --epochs 5

Three metrics logged per step, the default DataLoader, the default progress bar, the default Trainer; see
https://lightning.ai/docs/pytorch/stable/starter/introduction.html and .../extensions/logging.html.
"""

import argparse

import lightning as L
import torch
from regression import read
from split import split
from timed import Timed
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset


class LitMLP(L.LightningModule):
    """Predict a number from the rows of a table."""

    def __init__(self, in_features: int = 10, hidden: int = 64, lr: float = 0.01) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.network = nn.Sequential(
            nn.Linear(in_features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self._step(batch, "val")

    def _step(self, batch: list[Tensor], stage: str) -> Tensor:
        x, y = batch
        y_hat = self.network(x)
        loss = nn.functional.mse_loss(y_hat, y)
        self.log(f"{stage}_loss", loss, prog_bar=True)
        self.log(f"{stage}_mae", (y_hat - y).abs().mean())
        self.log(f"{stage}_rmse", loss.sqrt())
        return loss

    def configure_optimizers(self) -> optim.Optimizer:
        return optim.SGD(self.parameters(), lr=self.lr)


class TableData(L.LightningDataModule):
    """Standardized rows of a CSV file."""

    def __init__(self, path: str = "", batch_size: int = 64) -> None:
        super().__init__()
        self.path = path
        self.batch_size = batch_size

    def setup(self, stage: str) -> None:
        x, y = read(self.path)
        train, val = split(torch.zeros(len(x)))
        x = ((x - x[train].mean(0)) / x[train].std(0, correction=0)).float()
        y = ((y - y[train].mean(0)) / y[train].std(0, correction=0)).float()
        self.train, self.val = TensorDataset(x[train], y[train]), TensorDataset(x[val], y[val])

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.val, batch_size=self.batch_size)


def main() -> None:
    """Train, and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--path", required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    L.seed_everything(args.seed)
    trainer = L.Trainer(max_epochs=args.epochs, devices=1, callbacks=[Timed()])
    trainer.fit(LitMLP(), TableData(args.path))


if __name__ == "__main__":
    main()
