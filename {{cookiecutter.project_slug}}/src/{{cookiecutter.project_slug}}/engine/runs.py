"""Where runs live: each in a folder of its own, `runs/<name>/`.

runs/<name>/
    config.yaml     everything that was set, ready for `--config`
    metrics.csv     every number that was logged
    curves.png      the same as a picture
    checkpoints/    best.ckpt by validation loss, last.ckpt to go on from
"""

from datetime import datetime
from pathlib import Path

from .errors import InputError

CHECKPOINTS = "checkpoints"


def new_name(root: Path, wanted: str | None) -> str:
    """Name a run after its start, or as wanted; number it where that name is taken."""
    base = wanted or datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    if Path(base).name != base:
        raise InputError(f"--name {base}: the name of a run is the name of a folder, without any separator")
    name, count = base, 1
    while (root / name).exists():
        count += 1
        name = f"{base}-{count}"
    return name


def find_checkpoint(root: Path, which: str) -> Path:
    """Find the checkpoint `which` ("last" or "best") of the newest run, or take it as a path.

    Raises:
        InputError: If there is none.
    """
    if which not in ("last", "best"):
        if not Path(which).exists():
            raise InputError(f"--ckpt_path {which}: there is no such checkpoint")
        return Path(which)
    found = sorted(root.glob(f"*/{CHECKPOINTS}/{which}.ckpt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise InputError(f"--ckpt_path {which}: no run in {root} has one yet; train first with `fit`")
    return found[-1]


def run_of(root: Path, checkpoint: Path) -> str | None:
    """Name the run that wrote a checkpoint, if it is one of ours."""
    folder = checkpoint.resolve().parent
    if folder.name == CHECKPOINTS and folder.parent.parent == root.resolve():
        return folder.parent.name
    return None
