"""The options of every subcommand, kept beside the byte code: help and misspelled options need no PyTorch.

They are written by the first run after a change of the package, of configs/train.yaml, or of what is installed.
"""

import difflib
import hashlib
import inspect
import json
import os
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

DEFAULT_CONFIG = Path("configs/train.yaml")
PACKAGE = Path(__file__).parents[1]
FILE = Path(cache_from_source(__file__)).with_name("options.json")
# Options that change which others there are: those of another class, or of a checkpoint's
CHOOSES = ("--config", "-c", "--model", "--data", "--ckpt_path")


def answer(args: Sequence[str]) -> None:
    """Print the help of a subcommand, or name a misspelled option, and exit.

    Returns:
        If neither is asked for, or not enough is known.
    """
    kept = _read()
    subcommand, *given = args
    if given in (["--help"], ["-h"]):
        text = kept["help"].get(_view(), {}).get(subcommand)
        if text is not None:
            print(text, end="")
            sys.exit(0)
    elif message := misspelled(args, kept["options"]):
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)


def misspelled(args: Sequence[str], options: Mapping[str, Collection[str]]) -> str | None:
    """Say what is wrong with an option that no class of this project and no Trainer has.

    Args:
        args: A subcommand and its options.
        options: Names of options by subcommand, as `options_of` lists them.

    Returns:
        None if there is none, or if only the parser can tell.
    """
    subcommand, *given = args
    names = [arg.partition("=")[0].rstrip("+") for arg in given if arg.startswith("-")]
    known = options.get(subcommand)
    if known is None or not {"--", "--help", "-h", "--print_config"}.isdisjoint(names):
        return None
    chosen = subcommand != "fit" or not {*CHOOSES}.isdisjoint(names)  # the others take those of a checkpoint
    for name in names:
        parents = {name.rsplit(".", count)[0] for count in range(1, name.count(".") + 1)}
        # Which arguments another class has is not known.
        part_of_class = any(parent in known and f"{parent}." not in known for parent in parents)
        by_class = chosen and name.startswith(("--model.", "--data."))
        if name.startswith("--") and name not in known and not part_of_class and not by_class:
            return no_such_option(name, known)
    return None


def no_such_option(name: str, known: Collection[str]) -> str:
    """Say that there is no such option, and which one may be meant."""
    similar = difflib.get_close_matches(name, [option for option in known if option[-1] != "."], n=1, cutoff=0.75)
    meant = f"; did you mean {similar[0]}?" if similar else ""
    return f"{name}: no such option{meant} (--help lists the options)"


def keep(parsers: Mapping[str, Any]) -> None:
    """Write down the options and the help of subcommands, unless they are known.

    Args:
        parsers: The parsers of the subcommands by name.
    """
    if sys.dont_write_bytecode:
        return
    kept = _read()
    texts = kept["help"].setdefault(_view(), {})
    if parsers.keys() <= texts.keys():
        return
    for parser in parsers.values():
        for _, class_path in _classes(parser):
            module = import_module(class_path.rpartition(".")[0])
            if not Path(inspect.getfile(module)).is_relative_to(PACKAGE):
                return  # its changes would not be noticed
    kept["options"] |= options_of(parsers)
    texts |= {name: parser.format_help() for name, parser in parsers.items()}
    unfinished = FILE.with_name(f"{FILE.name}.{os.getpid()}")
    try:
        FILE.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(kept), encoding="utf-8")
        os.replace(unfinished, FILE)
    except OSError:  # as with byte code, a folder that cannot be written costs time only
        unfinished.unlink(missing_ok=True)


def options_of(parsers: Mapping[str, Any]) -> dict[str, list[str]]:
    """List the options of subcommands, with the arguments of the classes that configs/train.yaml names.

    Args:
        parsers: The parsers of the subcommands by name.

    Returns:
        Names of options. A name that ends with a dot is a group whose options are all there.
    """
    found = {}
    for subcommand, parser in parsers.items():
        known = {option.rstrip("+") for action in parser._actions for option in action.option_strings}
        groups = {option.rpartition(".")[0] for option in known if option.count(".") == 1 and ".help" not in option}
        for section, class_path in _classes(parser):
            module, _, name = class_path.rpartition(".")
            parameters = inspect.signature(getattr(import_module(module), name)).parameters
            known |= {f"--{section}.{argument}" for argument in (*parameters, "class_path", "init_args", "help")}
            if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
                groups.add(f"--{section}")
        found[subcommand] = sorted(known | {f"{group}." for group in groups})
    return found


def _classes(parser: Any) -> Iterator[tuple[str, str]]:
    """List the classes of the model and the data in the default config."""
    defaults = parser.get_defaults()
    for section in ("model", "data"):
        if (settings := defaults.get(section)) and "class_path" in settings:
            yield section, settings.class_path


def _read() -> dict[str, Any]:
    state = _state()
    with suppress(OSError, ValueError, KeyError):  # there is none yet, or it is damaged
        kept = json.loads(FILE.read_text(encoding="utf-8"))
        if kept["state"] == state:
            return dict(kept)
    return {"state": state, "options": {}, "help": {}}


def _state() -> str:
    """Hash what the options depend on: this package, its config, and what is installed."""
    files = sorted(PACKAGE.rglob("*.py"))
    parts: list[object] = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    parts += [sys.version, *(version(name) for name in ("jsonargparse", "lightning", "torch"))]
    parts += [DEFAULT_CONFIG.read_text(encoding="utf-8") if DEFAULT_CONFIG.exists() else None]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _view() -> str:
    """What the text of a help depends on."""
    width = shutil.get_terminal_size(fallback=(120, 24)).columns  # as `console.set_up` has it
    return f"{os.path.basename(sys.argv[0])}, {width} columns, {'' if sys.stdout.isatty() else 'not '}a terminal"
