"""Compare runs: all of them by a metric, or two of them in everything that differs.

    python -m {{ cookiecutter.project_slug }}.compare
    python -m {{ cookiecutter.project_slug }}.compare --by val_rmse --mode min
    python -m {{ cookiecutter.project_slug }}.compare first second
    python -m {{ cookiecutter.project_slug }}.compare --html

It reads what the runs left in their folders; nothing is trained. With `--html`, all runs are on one page, and every run
has its report.html, also one that was killed.
"""

from pathlib import Path

from .engine.commands import CommandParser, errors_in_one_line, print_path
from .engine.comparison import print_differences, print_runs
from .engine.errors import InputError
from .engine.index_page import write_index


def main(args: list[str] | None = None) -> None:
    """Print the comparison.

    Args:
        args: The command line; by default that of the process.
    """
    parser = CommandParser("Compare all runs by a metric, or two runs in everything.")
    parser.add_argument("runs", nargs="*", help="Two runs: their names, or paths of their folders.")
    parser.add_argument("--by", metavar="METRIC", help="Metric to sort by (default: that of the newest best.ckpt).")
    parser.add_argument("--mode", choices=["min", "max"], help="Which value is best, if no run monitors it.")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="Folder of the runs (default: runs).")
    parser.add_argument("--html", action="store_true", help="Write all runs into a page with links to their reports.")
    given = parser.parse_args(args)
    with errors_in_one_line():
        if given.html and not given.runs:
            print_path(write_index(given.root, given.by, given.mode))
        elif len(given.runs) == 2 and not given.html:
            print_differences(given.root, *given.runs)
        elif not given.runs:
            print_runs(given.root, given.by, given.mode)
        else:
            raise InputError("name two runs to compare, or none for a table of all, or --html alone for a page of all")


if __name__ == "__main__":
    main()
