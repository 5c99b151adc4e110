"""The learning rate over a run: up in a line, down in half a cosine."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from .errors import InputError


def warmup_cosine(optimizer: Optimizer, steps: float, warmup: float) -> LambdaLR:
    """Rise from near 0 to the full learning rate, then fall to 0 at the last step.

    Made for `trainer.estimated_stepping_batches`. A run that is resumed for longer gets the longer curve.

    Args:
        optimizer: What to schedule.
        steps: Optimiser steps of the whole run.
        warmup: Share of them in which the learning rate rises.

    Raises:
        InputError: If the run has no end.

    Source: Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983, without restarts.
    """
    if math.isinf(steps):
        raise InputError("a cosine schedule needs to know its end: set --trainer.max_epochs or --trainer.max_steps")
    rising = warmup * steps

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, steps - rising))))

    return LambdaLR(optimizer, factor)
