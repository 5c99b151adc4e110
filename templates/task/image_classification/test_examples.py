"""A small model, a batch for it and the data, for tests that are the same for every model."""

from typing import Any

import torch
from torch import Tensor

from lit_project.datamodule import LitDataModule
from lit_project.module import LitModel

OTHER_LAYERS = "--model.width=16"  # the weights of another model do not fit
MISTAKES = [  # options of this task, and what their error says
    ("--model.width 0", "--model.width 0: must be above 0"),
    ("--model.weight_decay -1", "--model.weight_decay -1.0: must be 0 or more"),
    ("--data.num_workers -1", "--data.num_workers -1: must be 0 or more"),
    ("--data.std [0]", "--data.std [0.0]: must be above 0"),
    ("--data.image_size 0", "--data.image_size 0: must be from 1 to"),
]


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
