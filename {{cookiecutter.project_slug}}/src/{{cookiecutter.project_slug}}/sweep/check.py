"""Check the options of `fit` before the first trial, in a child process, which imports PyTorch."""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.commands import last_start
from ..engine.comparison import table_console
from ..engine.errors import InputError, make_folder
from .children import run_child

RESERVED = ("--name", "--trainer.default_root_dir")


@dataclass(frozen=True)
class Checked:
    """What `fit` will do with the options.

    Attributes:
        overlay: What they change of configs/train.yaml.
        config_sha256: Hash of the resolved config.
        paths: Keys of every parameter in the config.
        defaults: Its value there.
        metric: Metric of best.ckpt.
        mode: "min" or "max": which of its values is best.
        gpus: Number of GPUs.
    """

    overlay: dict[str, Any]
    config_sha256: str
    paths: dict[str, list[str]]
    defaults: dict[str, Any]
    metric: str
    mode: str
    gpus: int


def check_options(
    options: Sequence[str],
    names: Sequence[str] = (),
    values: Sequence[Sequence[str]] = (),
    extra: Sequence[str] = (),
    runs: Mapping[str, Sequence[str]] | None = None,
) -> Checked:
    """Parse the options, and train on one batch.

    Args:
        options: Options of `fit` for every trial.
        names: Options that trials will set, without the dashes.
        values: Options that must be accepted as well.
        extra: Further options of the batch.
        runs: Folders of trained runs, and their further options.

    Raises:
        InputError: If an option is unknown or refused, the metric is not logged, or a run was trained otherwise.
    """
    for option in RESERVED:
        if any(each.partition("=")[0] == option for each in options):
            raise InputError(f"{option}: is set for every trial; use --name and --root of `sweep`")
    asked = {"options": options, "names": names, "values": values, "extra": extra, "runs": runs or {}}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        answer, log = Path(folder, "answer.json"), Path(folder, "output.log")
        with table_console().status("trying the options on one batch"):  # shown in a terminal
            child = run_child("sweep.dry_run", [str(answer), json.dumps(asked)], log)
        if reason := child.failure():
            if not child.has_refused():  # a bug of the model or the data: show where
                print(log.read_text(encoding="utf-8", errors="replace"), file=sys.stderr)
            raise InputError(reason)
        return Checked(**json.loads(answer.read_text(encoding="utf-8")))


def make_sweep_folder(root: Path, name: str) -> Path:
    """Make the folder of a sweep, whose runs are in it.

    Raises:
        InputError: If it cannot be made, or is that of a run.
    """
    if Path(name).name != name or name == "..":
        raise InputError(f"--name {name}: must be the name of a folder, without separators")
    folder = root / name
    if last_start(folder):
        raise InputError(f"--name {name}: {folder} is a run; choose another name")
    make_folder(folder, "--name")
    return folder
