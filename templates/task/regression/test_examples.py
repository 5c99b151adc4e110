"""A small model, a batch for it and the data, for tests that are the same for every model."""

from typing import Any

import torch
from torch import Tensor

from lit_project.datamodule import LitDataModule
from lit_project.module import LitModel

OTHER_LAYERS = "--model.hidden=[4]"  # the weights of another model do not fit
TARGETS: list[Any] = list(range(20))  # of a small table
MISTAKES = [  # options of this task, and what their error says
    ("--model.hidden [8,-1]", "--model.hidden [8, -1]: must be above 0"),
    ("--data.categorical [absent]", "--data.categorical absent: the diabetes study has no column 'absent'"),
    ("--data.features []", "--data.features []: name a column"),
    ("--data.num_workers -1", "--data.num_workers: no such option"),
    (
        "--data.path own.csv --data.target y --data.max_memory_mb 0 --data.cache_dir own.csv/cache",
        "--data.cache_dir own.csv/cache: Not a directory",
    ),
]


def make_model(lr: float = 0.1) -> LitModel:
    torch.manual_seed(0)
    return LitModel(hidden=[64], lr=lr)


def make_batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(10, 10)
    return x, x @ torch.randn(10, 1)


def make_datamodule(**arguments: Any) -> LitDataModule:
    datamodule = LitDataModule(**arguments)
    datamodule.setup("fit")
    return datamodule
