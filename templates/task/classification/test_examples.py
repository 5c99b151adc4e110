"""A small model, a batch for it and the data, for tests that are the same for every model."""

from typing import Any

import torch
from torch import Tensor

from lit_project.datamodule import LitDataModule
from lit_project.module import LitModel

OTHER_LAYERS = "--model.hidden=[4]"  # the weights of another model do not fit
TARGETS: list[Any] = ["flat", "house"] * 10  # of a small table
MISTAKES = [  # options of this task, and what their error says
    ("--model.hidden [8,-1]", "--model.hidden [8, -1]: must be above 0"),
    ("--model.dropout 2", "--model.dropout 2.0: must be from 0 to 1"),
    ("--model.weight_decay -1", "--model.weight_decay -1.0: must be 0 or more"),
    ("--data.categorical [absent]", "--data.categorical absent: the breast cancer study has no column 'absent'"),
    ("--data.features []", "--data.features []: name a column"),
    ("--data.positive absent", "--data.positive absent: no such class; there are benign, malignant"),
    (
        "--data.path own.csv --data.target y --data.max_memory_mb 0 --data.cache_dir own.csv/cache",
        "--data.cache_dir own.csv/cache: Not a directory",
    ),
]


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
