"""A plain LightningDataModule, which calls `save_hyperparameters`."""

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset, random_split


class OwnData(LightningDataModule):
    """Rows of six numbers with their sum, split in `setup`."""

    def __init__(self, rows: int = 64, batch_size: int = 8, noise: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage: str) -> None:
        rows, generator = self.hparams.rows, torch.Generator().manual_seed(0)
        x = torch.randn(rows, 6, generator=generator)
        y = x.sum(dim=1, keepdim=True) + self.hparams.noise * torch.randn(rows, 1, generator=generator)
        self.train, self.val, self.test = random_split(TensorDataset(x, y), [0.5, 0.25, 0.25], generator)
        self.new = TensorDataset(torch.randn(rows + 3, 6, generator=generator))

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train, batch_size=self.hparams.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.val, batch_size=self.hparams.batch_size)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(self.test, batch_size=self.hparams.batch_size)

    def predict_dataloader(self) -> DataLoader:
        return DataLoader(self.new, batch_size=self.hparams.batch_size)
