"""A small model, a batch for it and the data, for tests that are the same for every model."""

from typing import Any

import torch
from torch import Tensor

from lit_project.datamodule import LitDataModule
from lit_project.module import LitModel

OTHER_LAYERS = "--model.hidden=[4]"  # the weights of another model do not fit
TARGETS: list[Any] = ["flat", "house"] * 10  # of a small table


def make_model(lr: float = 0.01) -> LitModel:
    torch.manual_seed(0)
    return LitModel(in_features=5, cardinalities=[3, 2], num_classes=3, dropout=0.0, lr=lr)


def make_batch() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    codes = torch.stack([torch.arange(10) % 4, torch.arange(10) % 3], dim=1)
    return torch.randn(10, 5), codes, torch.arange(10) % 3


def make_datamodule(**arguments: Any) -> LitDataModule:
    datamodule = LitDataModule(**arguments)
    datamodule.setup("fit")
    return datamodule
