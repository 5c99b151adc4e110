"""Look at this machine, the launcher, the data and the model, and say what is wrong and how to mend it.

    python -m {{ cookiecutter.project_slug }}.doctor
    python -m {{ cookiecutter.project_slug }}.doctor --plan 8 64 1024

All other options are those of `fit`. It trains for a few steps and measures for a few seconds; nothing is left behind.
The exit status is 0 if a run can train here, and 1 if something makes that impossible. Under a launcher, one process of
each machine prints.
"""

import os
import signal
import sys
from argparse import Namespace
from typing import Any

from ..engine.commands import CommandParser, errors_in_one_line
from ..engine.errors import InputError
from ..engine.startup import quick_imports


def main(args: list[str] | None = None) -> None:
    """Print what was found.

    Args:
        args: The command line; by default that of the process.
    """
    parser = CommandParser(
        "Look at this machine, the launcher, the data and the model, and say what is wrong and how to mend it.",
        prog="doctor",
        epilog="All other options are those of `fit`: --data.path my.csv --config overlay.yaml.",
    )
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")
    parser.add_argument(
        "--plan",
        type=int,
        nargs="+",
        metavar="N",
        help="Compute what training takes on N devices: memory and communication, checkpoints, epochs.",
    )
    about = "Memory of a device in GB (default: that of the GPU here, or 80)."
    parser.add_argument("--plan.memory", type=float, metavar="GB", help=about)
    about = "Mean days between failures of one device (default: 2111, as in Llama 3's training)."
    parser.add_argument("--plan.failure_days", type=float, metavar="DAYS", help=about)
    about = "Speed of writing a checkpoint in GB/s (default: measured in the folder of the runs)."
    parser.add_argument("--plan.write_speed", type=float, metavar="GB/S", help=about)
    given, options = parser.parse_known_args(args)
    try:
        with errors_in_one_line():
            _require_valid(given)
            if not _is_first_here():
                return
            with quick_imports():  # of PyTorch and Lightning, some seconds
                from .examine import examine
            settings = vars(given)
            assumed = [settings[f"plan.{name}"] for name in ("memory", "failure_days", "write_speed")]
            sys.exit(examine(options, given.json, given.plan or [], assumed))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _require_valid(given: Namespace) -> None:
    """Check the options of the plan.

    Raises:
        InputError: If one is not above 0.
    """
    settings: dict[str, Any] = vars(given)
    for name in ("plan", "plan.memory", "plan.failure_days", "plan.write_speed"):
        values = settings[name] if isinstance(settings[name], list) else [settings[name]]
        if any(value is not None and not value > 0 for value in values):
            raise InputError(f"--{name} {' '.join(map(str, values))}: must be above 0")
        if name != "plan" and settings[name] is not None and not given.plan:
            raise InputError(f"--{name}: has no effect without --plan 8 64, the numbers of devices")


def _is_first_here() -> bool:
    """Tell whether this is the first process that a launcher has started on this machine."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "SLURM_LOCALID"))


if __name__ == "__main__":
    main()
