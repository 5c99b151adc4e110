"""Options that Lightning accepts but that break a run, and its own errors about the others, in one line."""

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from traceback import extract_tb, walk_tb
from types import FrameType
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .errors import InputError, require_between

LIBRARIES = {"lightning", "torch", "jsonargparse", *sys.stdlib_module_names}
# An option in a message of Lightning's: a plain word such as `devices` only where it is marked as code.
TRAINER_OPTION = re.compile(rf"(?:`|\(|\b(?=\w*_))({'|'.join(inspect.signature(Trainer).parameters)})\b")


def require_valid(options: Any) -> None:
    """Reject options that would fail, or have no effect, only after the run has begun.

    Args:
        options: The parsed options of a subcommand.

    Raises:
        InputError: If there is such an option.
    """
    trainer = options.trainer
    if options.seed_everything is not None and not 0 <= options.seed_everything < 2**32:
        raise InputError(f"--seed_everything {options.seed_everything}: must be from 0 to {2**32 - 1}")
    at_least = {
        **dict.fromkeys(("accumulate_grad_batches", "check_val_every_n_epoch", "num_nodes"), 1),
        **dict.fromkeys(("gradient_clip_val", "log_every_n_steps", "min_epochs", "min_steps"), 0),
    }
    for name, low in at_least.items():
        if trainer[name] is not None:
            require_between("trainer", low, None, **{name: trainer[name]})
    if trainer.val_check_interval == 0:
        raise InputError(
            "--trainer.val_check_interval 0: must be above 0; --trainer.limit_val_batches 0 never validates"
        )
    if isinstance(trainer.devices, str) and not re.fullmatch(r"auto|-1|\d+(, ?\d+)*,?", trainer.devices):
        raise InputError(f"--trainer.devices {trainer.devices}: must be a number, numbers with commas, or auto")
    if trainer.barebones:
        raise InputError("--trainer.barebones true: leaves out metrics and checkpoints, which a run writes; drop it")
    if options.get("lr_scheduler") and not options.get("optimizer"):
        raise InputError("--lr_scheduler: has no effect without --optimizer; name that too")


def drop_repeated(trainer: Any) -> None:
    """Drop what a resumed run has twice: from its config.yaml, and since the same command was typed again.

    Args:
        trainer: The parsed options of the Trainer.
    """
    for name in ("callbacks", "logger", "plugins"):
        if isinstance(trainer[name], list):
            trainer[name] = [part for at, part in enumerate(trainer[name]) if part not in trainer[name][:at]]


@contextmanager
def largest_named(section: str, arguments: Mapping[str, Any], links: Iterable[str]) -> Iterator[None]:
    """Name the largest argument if what is made of the arguments does not fit into memory.

    Args:
        section: `model` or `data`.
        arguments: Arguments by name.
        links: Those that come from the data; their names end the strings.

    Raises:
        InputError: If it does not fit.
    """
    try:
        yield
    except RuntimeError as error:
        values = {name: value if isinstance(value, (list, tuple)) else [value] for name, value in arguments.items()}
        sizes = [(number, name) for name in values for number in values[name] if isinstance(number, int)]
        if not sizes or not re.search(r"allocate memory|overflow", str(error)):
            raise
        number, name = max(sizes)
        part = "data" if any(link.endswith(f".{name}") for link in links) else section
        raise InputError(f"--{part}.{name} {number}: does not fit into memory; choose a smaller one") from None


def as_option_error(error: BaseException) -> str | None:
    """Return the message if Lightning or PyTorch refused the value of an option, or None.

    An error that passed through code of the project outside of engine/ may be a bug there, and needs its traceback;
    unless it is Lightning's complaint about an option of the Trainer.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    below = list(takewhile(lambda frame: _package(frame) in LIBRARIES, reversed(frames)))
    if not below:
        return None
    message = " ".join(str(error).split())
    option = TRAINER_OPTION.search(message)
    deliberate = _package(frames[-1]) == "lightning" and str(extract_tb(error.__traceback__)[-1].line).startswith(
        "raise"
    )
    if option and (deliberate or isinstance(error, MisconfigurationException)):
        return f"--trainer.{option[1]}: {message}"
    caller = frames[-len(below) - 1].f_globals["__name__"] if len(below) < len(frames) else __name__
    if caller.rpartition(".")[0] != __name__.rpartition(".")[0]:
        return None
    for frame in below if frames[-1].f_globals["__name__"].startswith("torch.optim") else ():
        part = frame.f_locals.get("self")
        if isinstance(part, (Optimizer, LRScheduler)):
            name = "optimizer" if isinstance(part, Optimizer) else "lr_scheduler"
            return f"--{name} {type(part).__name__}: {message}"
    return message if deliberate or isinstance(error, OSError) else None


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
