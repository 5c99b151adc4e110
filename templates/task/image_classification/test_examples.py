"""A small model, a batch for it and the data, for tests that are the same for every model."""

from typing import Any

import torch
from torch import Tensor

from lit_project.datamodule import LitDataModule
from lit_project.module import LitModel

OTHER_LAYERS = "--model.width=16"  # the weights of another model do not fit


def make_model(lr: float = 0.01) -> LitModel:
    torch.manual_seed(0)
    return LitModel(width=8, lr=lr)


def make_batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(10, 1, 8, 8), torch.arange(10)


def make_datamodule(augment: bool = False, **arguments: Any) -> LitDataModule:
    datamodule = LitDataModule(augment=augment, **arguments)
    datamodule.setup("fit")
    return datamodule
