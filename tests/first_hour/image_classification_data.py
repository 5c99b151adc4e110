"""A plain LightningDataModule, which never calls `save_hyperparameters`."""

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset


class OwnData(LightningDataModule):
    """Colored noise of 8 x 8 pixels, in three classes."""

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
        x = torch.randn(self.rows + 3, 3, 8, 8, generator=torch.Generator().manual_seed(3))
        return DataLoader(TensorDataset(x, torch.arange(len(x))), batch_size=self.batch_size)

    def _loader(self, rows: int, seed: int, shuffle: bool = False) -> DataLoader:
        generator = torch.Generator().manual_seed(seed)
        y = torch.randint(3, (rows,), generator=generator)
        x = torch.randn(rows, 3, 8, 8, generator=generator) + y[:, None, None, None]
        return DataLoader(TensorDataset(x, y), batch_size=self.batch_size, shuffle=shuffle)
