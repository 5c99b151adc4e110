"""The rows that the rendered projects train and validate on."""

import torch
from torch import Tensor


def split(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Split row numbers at random into training, validation (15 %) and test (15 %, left out here).

    Args:
        groups: Class of every row, by which to stratify, of shape (rows,); equal where there are none.

    Returns:
        Training and validation rows.
    """
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(0))
    train, val = [], []
    for group in groups.unique():
        rows = order[groups[order] == group]
        share = round(0.15 * len(rows))
        train.append(rows[: len(rows) - 2 * share])
        val.append(rows[len(rows) - 2 * share : len(rows) - share])
    return torch.cat(train), torch.cat(val)
