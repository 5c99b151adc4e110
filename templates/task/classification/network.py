"""The network: a multilayer perceptron over numbers and embedded categories."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from .engine.errors import require_positive


class TableNet(nn.Module):
    """A multilayer perceptron over numbers and over an embedding of every column of categories.

    Args:
        in_features: Columns of numbers.
        cardinalities: Categories known in every column of categories.
        num_classes: Number of classes.
        hidden: Hidden layer widths.
        dropout: Dropout probability after every hidden layer.

    Raises:
        InputError: If a hidden layer has no units.
    """

    def __init__(
        self, in_features: int, cardinalities: Sequence[int], num_classes: int, hidden: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        require_positive("model", hidden=hidden)
        # Code 0 stands for a category unseen in training; its embedding stays zero.
        self.embeddings = nn.ModuleList(
            nn.Embedding(known + 1, _embedding_width(known), padding_idx=0) for known in cardinalities
        )
        widths = [in_features + sum(map(_embedding_width, cardinalities)), *hidden]
        layers = [
            part for pair in pairwise(widths) for part in (nn.Linear(*pair), nn.ReLU(), nn.Dropout(dropout))
        ]  # fmt: skip
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """Map numbers (batch, in_features) and codes (batch, len(cardinalities)) to logits (batch, num_classes)."""
        vectors = [embedding(code) for embedding, code in zip(self.embeddings, codes.T, strict=True)]
        return self.layers(torch.cat([numbers, *vectors], dim=1))


def _embedding_width(known: int) -> int:
    """Follow fastai's rule of thumb, https://docs.fast.ai/tabular.model.html#emb_sz_rule."""
    return min(600, round(1.6 * (known + 1) ** 0.56))
