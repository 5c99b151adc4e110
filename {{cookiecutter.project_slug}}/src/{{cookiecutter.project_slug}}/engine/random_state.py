"""Random numbers of Python, NumPy and PyTorch: seeds for batches, and states for checkpoints."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info


def seed_of(*key: int) -> int:
    """Make a seed from numbers, such as those of an epoch and a batch."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=4)  # NumPy takes 32 bits
    return int.from_bytes(digest.digest(), "big")


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Draw random numbers that depend on the key alone, and leave those of the training as they are.

    Those of Python and NumPy, whose states are slow to save, start anew instead.
    """
    state = torch.get_rng_state()
    seed = seed_of(*key)
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        if get_worker_info() is None:
            torch.set_rng_state(state)
            seed_anew(*key)


def seed_anew(*key: int) -> None:
    """Let Python and NumPy start anew, for the training step of a batch."""
    seed = seed_of(*key, -1)
    random.seed(seed)
    np.random.seed(seed)


def random_state() -> dict[str, Any]:
    """Return the random states of PyTorch, NumPy and Python as plain values."""
    state: Any = np.random.get_state()
    kind, numbers, *rest = state
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
        "numpy": (kind, torch.from_numpy(numbers.astype("int64")), *rest),
        "python": random.getstate(),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what `random_state` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():  # which is slow without any
        torch.cuda.set_rng_state_all(state["cuda"])
    if state["mps"] is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])
    kind, numbers, *rest = state["numpy"]
    np.random.set_state((kind, numbers.numpy().astype("uint32"), *rest))
    random.setstate(state["python"])
