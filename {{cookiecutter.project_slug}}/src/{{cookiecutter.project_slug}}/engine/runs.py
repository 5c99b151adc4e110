"""Where runs live: each in its own folder, `runs/<name>/`.

runs/<name>/
    config.yaml     the resolved config, ready for `--config`
    run.json        code, data, versions and hardware, and how the run ended
    metrics.csv     every number that was logged
    report.html     all of it on one page
    curves.png      the learning curves, next to the report's pictures
    checkpoints/    best.ckpt by validation loss, last.ckpt to resume from
"""

from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from .errors import InputError, listed
from .metrics import MetricsCSV
from .results import UNREADABLE

ROOT = Path("runs")  # unless --trainer.default_root_dir says otherwise
CHECKPOINTS = "checkpoints"
# What a resumed run keeps of its config.yaml; the model, data and optimizer are in the checkpoint.
TRAINER_SECTIONS = ("seed_everything", "trainer", "best_checkpoint", "last_checkpoint")


def claim_name(root: Path, wanted: str | None, again: bool = False) -> str:
    """Name a run as wanted, or after the current time, and make its folder; append a number where the name is taken.

    Only the first process makes the folder; the others write nothing into it.

    Args:
        root: Folder of the runs.
        wanted: Its name.
        again: Whether to take a folder that is there, of an attempt that was killed before its first checkpoint.

    Raises:
        InputError: If the name is not that of a folder.
    """
    base = wanted or datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    if Path(base).name != base or base == "..":
        raise InputError(f"--name {base}: must be the name of a folder, without separators")
    name, count = base, 1
    if again and (root / name).is_dir():
        if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
            for log in (*(root / name).glob("metrics.csv"), *(root / name).glob("events.out.tfevents.*")):
                log.unlink()  # since its steps are taken again
        return name
    while rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        try:
            (root / name).mkdir()
            break
        except FileExistsError:  # also where another run has just made it
            count += 1
            name = f"{base}-{count}"
        except OSError as error:  # such as a name that is too long
            raise InputError(f"--name {listed([base])}: {error.strerror}; choose another name") from None
    return name


def name_of(root: Path, checkpoint: Path) -> str | None:
    """Return the name of the run that wrote a checkpoint, or None if it is not in a run under `root`.

    The name of a trial is that of its sweep and its own: `sweep/trial-007`.
    """
    folder = checkpoint.resolve().parent
    if folder.name == CHECKPOINTS and root.resolve() in folder.parent.parents:
        return folder.parent.relative_to(root.resolve()).as_posix()
    return None


def trainer_config(folder: Path) -> dict[str, Any]:
    """Return what a run's config.yaml says of its trainer, empty if there is none.

    Raises:
        InputError: If it cannot be read.
    """
    path = folder / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {section: config[section] for section in TRAINER_SECTIONS if section in config}
    except FileNotFoundError:
        return {}
    except UNREADABLE:
        raise InputError(f"{path}: not a config; restore it, or delete it to resume with configs/train.yaml") from None


def folder_of(trainer: Trainer) -> Path | None:
    """Return the folder of a Trainer's run, or None for a Trainer without one, as under `fast_dev_run`."""
    return next((Path(logger.log_dir) for logger in trainer.loggers if isinstance(logger, MetricsCSV)), None)
