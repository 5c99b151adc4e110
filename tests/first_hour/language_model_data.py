"""A plain LightningDataModule, which never calls `save_hyperparameters`."""

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset


class Prompts(Dataset[Tensor]):
    """The beginnings of sequences."""

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> Tensor:
        return self.tokens[index]


class OwnData(LightningDataModule):
    """Sequences of 16 random bytes, each the one before plus one."""

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
        prompts = torch.arange(self.rows + 3)[:, None] + torch.arange(8)
        return DataLoader(Prompts(prompts), batch_size=self.batch_size)

    def _loader(self, rows: int, seed: int, shuffle: bool = False) -> DataLoader:
        generator = torch.Generator().manual_seed(seed)
        start = torch.randint(200, (rows, 1), generator=generator)
        tokens = start + torch.arange(17)
        return DataLoader(TensorDataset(tokens[:, :-1], tokens[:, 1:]), batch_size=self.batch_size, shuffle=shuffle)
