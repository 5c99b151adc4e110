"""Learning rate schedule: linear warm-up, cosine decay."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from .errors import InputError


def warmup_cosine(optimizer: Optimizer, steps: float, warmup: float) -> LambdaLR:
    """Raise the learning rate linearly to its full value, then let it decay to 0 at the last step.

    Pass `trainer.estimated_stepping_batches` as `steps`: a run that is resumed for longer gets the longer schedule.

    Args:
        optimizer: The optimizer to schedule.
        steps: Optimizer steps of the whole run.
        warmup: Fraction of them that warm up.

    Raises:
        InputError: If the run has no end.

    Source: Loshchilov and Hutter, SGDR, https://arxiv.org/abs/1608.03983, without restarts.
    """
    if math.isinf(steps):
        raise InputError("a cosine schedule must know its last step: set --trainer.max_epochs or --trainer.max_steps")
    warmup_steps = warmup * steps

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup_steps) / max(1.0, steps - warmup_steps))))

    return LambdaLR(optimizer, factor)
