"""A plain LightningDataModule, which never calls `save_hyperparameters`."""

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset


class OwnData(LightningDataModule):
    """Rows of six numbers with their sum."""

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
        x = torch.randn(self.rows + 3, 6, generator=torch.Generator().manual_seed(3))
        return DataLoader(TensorDataset(x), batch_size=self.batch_size)

    def _loader(self, rows: int, seed: int, shuffle: bool = False) -> DataLoader:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(rows, 6, generator=generator)
        return DataLoader(TensorDataset(x, x.sum(dim=1, keepdim=True)), batch_size=self.batch_size, shuffle=shuffle)
