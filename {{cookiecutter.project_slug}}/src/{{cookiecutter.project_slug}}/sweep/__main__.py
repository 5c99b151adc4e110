"""Search for good hyperparameters, or repeat a training with several seeds or folds.

    python -m {{ cookiecutter.project_slug }}.sweep
    python -m {{ cookiecutter.project_slug }}.sweep --trials 50 --jobs 2
    python -m {{ cookiecutter.project_slug }}.sweep --seeds 0 1 2 3 4
    python -m {{ cookiecutter.project_slug }}.sweep --folds 5

The same command continues what was interrupted. What to search is in `configs/sweep.yaml`.
"""

import signal
import sys
from pathlib import Path

from ..engine.commands import CommandParser, errors_in_one_line, require_group
from ..engine.errors import InputError

SPACE = Path("configs/sweep.yaml")


def main(args: list[str] | None = None) -> None:
    """Run the search or the repetitions.

    Args:
        args: The command line; by default that of the process.
    """
    parser = CommandParser(
        "Search for good hyperparameters, or repeat a training with several seeds or folds.",
        prog="sweep",
        epilog="All other options are those of `fit`, for every trial: --trainer.max_epochs 10 --config overlay.yaml.",
    )
    parser.add_argument("--trials", type=int, help="Trials in all, on all machines (default: as in the file).")
    parser.add_argument("--jobs", type=int, default=1, help="Trials side by side (default: 1).")
    parser.add_argument("--name", help="Folder in that of the runs (default: sweep, seeds or folds).")
    parser.add_argument("--storage", metavar="URL", help="Database of the trials (default: a file in the folder).")
    parser.add_argument("--metric", help="Metric to optimize (default: that of best.ckpt).")
    parser.add_argument("--mode", choices=["min", "max"], help="Which of its values is best.")
    parser.add_argument("--space", type=Path, default=SPACE, help=f"File of the search (default: {SPACE}).")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="Folder of the runs (default: runs).")
    repeated = parser.add_mutually_exclusive_group()
    repeated.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="Train and test once per seed.")
    repeated.add_argument("--folds", type=int, metavar="K", help="Train and test on K folds of a cross-validation.")
    given, options = parser.parse_known_args(args)
    try:
        with errors_in_one_line():
            if given.jobs < 1:
                raise InputError(f"--jobs {given.jobs}: must be 1 or more")
            if given.seeds or given.folds is not None:
                from .repeats import run_repeats

                sys.exit(run_repeats(given, options))
            require_group("sweep", "optuna")
            from .search import run_search

            sys.exit(run_search(given, options))
    except KeyboardInterrupt:  # between two trials, where nothing is lost
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
