"""Start quickly: help and misspellings need no PyTorch, and imports no garbage collection."""

import atexit
import gc
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from .commands import COMMANDS
from .known_options import answer

SUBCOMMANDS = {
    "fit": "train; --ckpt_path last resumes the newest run",
    "validate": "evaluate a run's best checkpoint on the validation data",
    "test": "evaluate a run's best checkpoint on the test data",
    "predict": "write its predictions for all rows, or for new data",
}
MORE = """\
configs/train.yaml is read first. Then, for example:

  fit --help                                 list all options
  fit --trainer.max_epochs 20                change an option
  fit --config configs/smoke.yaml            read more options from a file
  fit --print_config                         print all options as they will be used
"""


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help lists the options)\n")


def answer_at_once(args: Sequence[str] | None) -> None:
    """Print the help, or what is wrong with the subcommand or an option, and exit; return if there is more to do.

    Args:
        args: The command line; by default that of the process.
    """
    parser = _Parser(formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False, epilog=MORE)
    parser.add_argument("-c", "--config", help="YAML file of options for several subcommands")
    subcommands = parser.add_subparsers(title="subcommands", metavar="subcommand", required=True)
    for name, does in (SUBCOMMANDS | COMMANDS).items():
        subcommands.add_parser(name, help=does, add_help=False, allow_abbrev=False)
    parser.parse_known_args(args)
    argv = sys.argv[1:] if args is None else args
    if argv[0] in SUBCOMMANDS:
        answer(argv)


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import modules without looking for garbage among their objects, which takes a third of the time.

    What is imported stays, so that it is left out of later collections as well, the one at exit included. Nothing
    changes in a process that has imported PyTorch before, and may hold garbage.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.freeze)
