"""Options that Lightning accepts but that break a run, and its own errors about the others, in one line."""

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from traceback import extract_tb, walk_tb
from types import FrameType
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .errors import InputError, listed, require_between
from .known_options import misspelled, no_such_option, options_of

LIBRARIES = {"lightning", "torch", "jsonargparse", *sys.stdlib_module_names}
# An option in a message of Lightning's: a plain word such as `devices` only where it is marked as code.
OPTION = {
    section: re.compile(rf"(?:`|\(|\b(?=\w*_))({'|'.join(inspect.signature(part).parameters)})\b")
    for section, part in {"trainer": Trainer, "best_checkpoint": ModelCheckpoint}.items()
}
LOGGED = re.compile(r"could not find the monitored key in the returned metrics: \[(.*?)\]")
# Lines of jsonargparse that say nothing to a user
NOISE = ("Does not validate", "Subtypes:", "Errors:", "Expected a <class 'NoneType'>", "Given value", "Expected a path")
# What it expects, in a user's words
EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    **dict.fromkeys(("list", "tuple", "Sequence", "Iterable"), "a list such as [1, 2]"),
    "import path": "the name of a class, such as package.module.Class",
}


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
        ("trainer", 1): ("accumulate_grad_batches", "check_val_every_n_epoch", "num_nodes"),
        ("trainer", 0): ("gradient_clip_val", "log_every_n_steps", "min_epochs", "min_steps"),
        ("last_checkpoint", 1): ("every_n_steps",),
        ("last_checkpoint", 0): ("every_n_minutes",),
    }
    for (section, low), names in at_least.items():
        given = {name: options[section][name] for name in names if options[section][name] is not None}
        require_between(section, low, None, **given)
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
    section = "best_checkpoint" if isinstance(frames[-1].f_locals.get("self"), ModelCheckpoint) else "trainer"
    option = OPTION[section].search(message) or re.search("(accelerator)", frames[-1].f_code.co_name)
    deliberate = _package(frames[-1]) == "lightning" and str(extract_tb(error.__traceback__)[-1].line).startswith(
        "raise"
    )
    if option and (deliberate or isinstance(error, MisconfigurationException)):
        given = _given(frames, section, option[1])
        if section == "best_checkpoint" and str(given) not in message:
            return message  # about another ModelCheckpoint
        if logged := LOGGED.search(message):
            names = re.findall("'(.+?)'", logged[1])
            message = f"no such metric; there are {listed(names, most=50)}"
        return f"--{section}.{option[1]} {given}: {message}"
    caller = frames[-len(below) - 1].f_globals["__name__"] if len(below) < len(frames) else __name__
    if caller.rpartition(".")[0] != __name__.rpartition(".")[0]:
        return None
    for frame in below if frames[-1].f_globals["__name__"].startswith("torch.optim") else ():
        part = frame.f_locals.get("self")
        if isinstance(part, (Optimizer, LRScheduler)):
            name = "optimizer" if isinstance(part, Optimizer) else "lr_scheduler"
            return f"--{name} {type(part).__name__}: {message}"
    return message if deliberate or isinstance(error, OSError) else None


def as_parser_error(message: str, argv: Sequence[str], parsers: Mapping[str, Any]) -> str:
    """Put a message of jsonargparse into one line that begins with the option and its value.

    Args:
        message: The message, which leaves out the beginning of an option that is an argument of a class.
        argv: The command line, for the whole option.
        parsers: The parsers of the subcommands by name, for the option that was meant.
    """
    key = re.search(r"""^(?:Parser key "(\S+)":|Option '(\S+)' is not accepted)""", message)
    if not key:
        if message.startswith("unrecognized arguments") and (line := misspelled(argv, options_of(parsers))):
            return line
        return f"{' '.join(message.split())} (--help lists the options)"
    name = key[1] or key[2]
    typed = {arg.partition("=")[0].rstrip("+") for arg in argv if arg.startswith("--")}
    matching = [option for option in typed if option == f"--{name}" or option.endswith(f".{name}")]
    option = matching[0] if len(matching) == 1 else f"--{name}" if "." in name else name
    if key[2]:
        return misspelled(argv, options_of(parsers)) or no_such_option(option, ())
    lines = [line.strip().removeprefix("- ") for line in message[key.end() :].splitlines()]
    lines = [line for line in dict.fromkeys(lines) if line and not line.startswith(NOISE)]
    if (value := re.search(r"(?:Given|Got) value: (.*)", message)) is None:
        return f"{option}: {' '.join(lines)} (--help lists the options)"
    if not lines or any(not line.startswith("Expected a") for line in lines):
        return f"{option} {value[1]}: {' '.join(lines) or 'not valid'} (--help lists the options)"
    expected = [line.partition(". Got value: ")[0] for line in lines]
    choices = [choice for text in expected if "Literal" in text for choice in re.findall(r"'(.*?)'", text)]
    kinds = choices or [_in_words(text) for text in expected]
    *others, last = dict.fromkeys(kinds)
    return f"{option} {value[1]}: must be {', '.join(others)}{' or ' if others else ''}{last}"


def _in_words(expected: str) -> str:
    return next((words for kind, words in EXPECTED.items() if re.search(rf"\b{kind}\b", expected)), expected)


def _given(frames: Sequence[FrameType], section: str, name: str) -> Any:
    """Return the value of an option, from the command line among the frames."""
    for frame in frames:
        cli = frame.f_locals.get("self")
        if isinstance(cli, LightningCLI) and "config" in vars(cli):
            return cli.config[cli.config.subcommand][section][name]
    return None


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
