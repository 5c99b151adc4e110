"""A plain LightningDataModule, which never calls `save_hyperparameters`."""

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset


class OwnData(LightningDataModule):
    """Four numbers and two categories in a row, and one of three classes."""

    def __init__(self, rows: int = 64, batch_size: int = 8) -> None:
        super().__init__()
        self.rows = rows
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader:
        return self._loader(self.rows, seed=0, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.rows // 2, seed=1)

    def test_dataloader(self) -> DataLoader:
        return self._loader(self.rows // 4, seed=2)

    def predict_dataloader(self) -> DataLoader:
        generator = torch.Generator().manual_seed(3)
        numbers = torch.randn(self.rows + 3, 4, generator=generator)
        codes = torch.randint(3, (self.rows + 3, 2), generator=generator)
        return DataLoader(TensorDataset(numbers, codes), batch_size=self.batch_size)

    def _loader(self, rows: int, seed: int, shuffle: bool = False) -> DataLoader:
        generator = torch.Generator().manual_seed(seed)
        numbers = torch.randn(rows, 4, generator=generator)
        codes = torch.randint(3, (rows, 2), generator=generator)
        y = (numbers[:, 0] > 0).long() + (codes[:, 0] == 2)
        return DataLoader(TensorDataset(numbers, codes, y), batch_size=self.batch_size, shuffle=shuffle)
