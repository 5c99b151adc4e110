"""What a run can do besides, each with a switch in configs/train.yaml."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ThroughputMonitor
from torch import Tensor


def switched_on(early_stopping: int | None, ema: float | None, throughput: bool) -> list[Callback]:
    """Make the callbacks of the switches that are on.

    Args:
        early_stopping: Validations without a lower val_loss after which training ends.
        ema: Decay of the exponential moving average of the weights.
        throughput: Whether to measure batches, samples and items per second.
    """
    callbacks: list[Callback] = []
    if early_stopping is not None:
        # An int of jsonargparse's own would keep the checkpoint from loading with `weights_only=True`.
        callbacks.append(EarlyStopping("val_loss", patience=int(early_stopping)))
    if throughput:
        callbacks.append(Throughput())
    if ema is not None:
        # The last one: whatever looks at the model in a validation then sees the averaged weights.
        callbacks.append(EMAWeightAveraging(decay=float(ema)))
    return callbacks


class Throughput(ThroughputMonitor):
    """Lightning's monitor for batches that begin with their input, counting the items of sequences too."""

    def __init__(self) -> None:
        super().__init__(batch_size_fn=_samples, length_fn=_items, window_size=10)
        self._module_has_flops = False  # or it warns of a number that nobody asked for


def _samples(batch: Sequence[Tensor]) -> int:
    return len(batch[0])


def _items(batch: Sequence[Any]) -> int:
    return int(batch[0].shape[:2].numel())  # of text: sequences times tokens
