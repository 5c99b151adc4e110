"""Errors that the user can fix."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class InputError(ValueError):
    """A file, column, value or option cannot be used; the message says in one line which one and what to do."""

    def __init__(self, message: str) -> None:
        # Names and values of a file may hold line breaks and control characters.
        super().__init__("".join(sign if sign.isprintable() else "?" for sign in message))


def listed(names: Sequence[Any], most: int = 12, width: int = 40) -> str:
    """Join names for a message; long names are cut, and the rest of a long list is counted."""
    shown = ", ".join(str(name) if len(str(name)) <= width else f"{str(name)[:width]}…" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def require_positive(part: str, **settings: float | Sequence[float]) -> None:
    """Reject settings that are not positive.

    Args:
        part: The options' prefix on the command line: `model` or `data`.
        settings: Values by option name.

    Raises:
        InputError: If a value, or one in a sequence, is not above 0. A config may hold null for any of them.
    """
    for name, value in settings.items():
        values = value if isinstance(value, Sequence) else [value]
        if any(number is None or number <= 0 for number in values):
            raise InputError(f"--{part}.{name} {value}: must be above 0")


def require_between(part: str, low: float, high: float | None, **settings: float) -> None:
    """Reject settings outside of a range.

    Args:
        part: The options' prefix on the command line, such as `model`.
        low: Smallest value.
        high: Largest value, or None for no limit.
        settings: Values by option name.

    Raises:
        InputError: If a value is outside.
    """
    for name, value in settings.items():
        if value is None or not low <= value or (high is not None and value > high):  # not: NaN is no number either
            limits = f"{low} or more" if high is None else f"from {low} to {high}"
            raise InputError(f"--{part}.{name} {value}: must be {limits}")


def make_folder(folder: Path, option: str) -> None:
    """Make a folder to write into, unless it is there.

    Args:
        folder: The folder.
        option: The option that names it, for the message.

    Raises:
        InputError: If it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(f"{option} {folder}: is a file; name a folder") from None
    except OSError as error:
        raise InputError(f"{option} {folder}: {error.strerror}; name a folder that can be written") from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"{option} {folder}: cannot be written; name another folder")


def require_fractions(val_fraction: float, test_fraction: float) -> None:
    """Reject fractions for validation and test that leave nothing for training.

    Raises:
        InputError: If they do.
    """
    if min(val_fraction, test_fraction) < 0 or val_fraction + test_fraction >= 1:
        raise InputError("--data.val_fraction and --data.test_fraction: must be 0 or more, and add up to less than 1")


def require_same(now: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
    """Reject data options that contradict what a checkpoint was trained with.

    Args:
        now: Settings of the datamodule by option name.
        trained: The same settings at training time.

    Raises:
        InputError: If one differs.
    """
    for name, value in trained.items():
        if now[name] != value:
            before = "the default" if value is None else value
            raise InputError(
                f"--data.{name} {now[name]}: the checkpoint was trained with {before}; "
                "drop the option, or train a new model without --ckpt_path"
            )
