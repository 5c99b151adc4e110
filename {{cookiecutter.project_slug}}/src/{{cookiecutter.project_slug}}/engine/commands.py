"""What the commands beside the Trainer's subcommands share. Nothing here imports PyTorch, so they start fast."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from .errors import InputError, listed

PACKAGE = __name__.partition(".")[0]
# Each is a module with `main(args)`, or a package whose `__main__` has it.
COMMANDS = {
    "compare": "compare runs: by a metric, or two in everything that differs",
    "sweep": "search for hyperparameters, or repeat a training with several seeds or folds",
    "export": "export a run's best model to ONNX, and check it against PyTorch",
    "doctor": "look at machine, launcher, data and model, and say what is wrong; compute what n devices need",
    "serve": "serve an exported run over HTTP, with a page to try it by hand",
}
# Those of a cluster, where the project has them
CLUSTER_COMMANDS = {
    "ray_train": "train on a Ray cluster",
    "ray_sweep": "run a sweep on all machines of a Ray cluster",
}
COMMANDS |= {name: does for name, does in CLUSTER_COMMANDS.items() if find_spec(f"{PACKAGE}.{name}")}


class CommandParser(ArgumentParser):
    """A parser that says in one line what is wrong, and takes no shortened options."""

    def __init__(self, description: str, **settings: object) -> None:
        super().__init__(description=description, allow_abbrev=False, **settings)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help lists the options)\n")


def run_command(args: Sequence[str] | None) -> bool:
    """Run one of `COMMANDS`, if the command line names one.

    Args:
        args: The command line; by default that of the process.

    Returns:
        Whether it did.
    """
    name, *options = (sys.argv[1:] if args is None else args) or [""]
    if name not in COMMANDS:
        return False
    module = f"{PACKAGE}.{name}"
    spec = find_spec(module)
    is_package = spec is not None and spec.submodule_search_locations is not None
    import_module(f"{module}.__main__" if is_package else module).main(options)
    return True


def require_group(group: str, *modules: str) -> None:
    """Check that the packages of a dependency group are installed.

    Args:
        group: Name of the group in pyproject.toml.
        modules: What it imports.

    Raises:
        InputError: If a module is missing; the message says what to install.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise InputError(
            f"{listed(missing)} not installed: python -m pip install --group {group} (or: uv sync --group {group})"
        )


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Report a user's error in one line and exit with status 1."""
    try:
        yield
    except InputError as error:
        sys.exit(f"error: {error}")


def print_path(path: Path) -> None:
    """Print a path as a line, which a click opens in most terminals."""
    from rich.console import Console
    from rich.style import Style
    from rich.text import Text

    Console().print(Text(str(path), Style(link=path.resolve().as_uri())), soft_wrap=True, highlight=False)


def find_run(root: Path, name: str | None = None) -> Path:
    """Return the folder of a run.

    Args:
        root: Folder of the runs.
        name: The run's name, or the path of its folder; by default the newest run.

    Raises:
        InputError: If there is no such run.
    """
    there = list_runs(root)
    if name is None:
        if not there:
            raise InputError(f"no run in {root} yet; train first with `fit`")
        return there[-1]
    for folder in (root / name, Path(name)):
        if last_start(folder):
            return folder
    names = listed([folder.name for folder in there])
    raise InputError(f"{name}: no such run; {root} has {names}" if there else f"{name}: no run in {root} yet")


def list_runs(root: Path) -> list[Path]:
    """List the folders of runs, the newest last."""
    found = {folder: last_start(folder) for folder in root.glob("*")}
    return sorted((folder for folder, start in found.items() if start), key=lambda folder: found[folder])


def last_start(folder: Path) -> int:
    """Return when a run was started or resumed last, in nanoseconds; 0 if the folder is not that of a run."""
    files = (folder / name for name in ("config.yaml", "run.json", "metrics.csv"))
    return next((file.stat().st_mtime_ns for file in files if file.exists()), 0)
