"""A small model, a batch for it and the data, for tests that are the same for every model."""

from typing import Any

import torch
from torch import Tensor

from lit_project.datamodule import LitDataModule
from lit_project.module import LitModel

OTHER_LAYERS = "--model.width=64"  # the weights of another model do not fit
MISTAKES = [  # options of this task, and what their error says
    ("--model.width 0", "--model.width 0: must be above 0"),
    ("--model.heads 5", "--model.width 128 must be divisible by --model.heads 5"),
    ("--model.dropout 2", "--model.dropout 2.0: must be from 0 to 1"),
    ("--model.weight_decay -1", "--model.weight_decay -1.0: must be 0 or more"),
    ("--data.block_size 1000000000", "--data.block_size 1000000000: does not fit into memory"),
    ("--data.path own.txt --data.cache_dir own.txt/cache", "--data.cache_dir own.txt/cache: Not a directory"),
]


def make_model(lr: float = 0.003) -> LitModel:
    torch.manual_seed(0)
    return LitModel(vocab_size=50, block_size=16, layers=2, heads=2, width=32, dropout=0.0, lr=lr)


def make_batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    tokens = torch.randint(0, 50, (4, 17))
    return tokens[:, :-1], tokens[:, 1:]


def make_datamodule(**arguments: Any) -> LitDataModule:
    datamodule = LitDataModule(**arguments)
    datamodule.setup("fit")
    return datamodule
