"""Where runs live: each in a folder of its own, `runs/<name>/`.

runs/<name>/
    config.yaml     everything that was set, ready for `--config`
    metrics.csv     every number that was logged
    curves.png      the same as a picture, beside others of what the model gets right and wrong
    checkpoints/    best.ckpt by validation loss, last.ckpt to go on from
"""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import InputError

if TYPE_CHECKING:  # importing the package imports this module, and stays light
    from lightning.pytorch import LightningDataModule, LightningModule

CHECKPOINTS = "checkpoints"


class Run(NamedTuple):
    """A trained model, ready to use, with the data that it was trained on and all that was measured of it.

    Attributes:
        model: In eval mode, on the CPU.
        datamodule: Holds scales, categories, vocabulary or class names; `setup()` reads the data.
    """

    model: LightningModule
    datamodule: LightningDataModule

    def predict(self, **data: Any) -> dict[str, list[Any]]:
        """Predict for new data: `run.predict(path="new.csv")`.

        Args:
            data: What to change of the datamodule's settings for this.

        Returns:
            The columns that `predict` on the command line writes.
        """
        import torch

        datamodule: Any = type(self.datamodule)(**{**self.datamodule.hparams, **data})
        datamodule.setup("predict")
        columns: dict[str, list[Any]] = {}
        with torch.inference_mode():
            for index, batch in enumerate(datamodule.predict_dataloader()):
                for name, values in datamodule.decode(self.model.predict_step(batch, index)).items():
                    columns.setdefault(name, []).extend(values)
        return columns


def load_run(folder: str | Path, which: str = "best") -> Run:
    """Load a trained model with its preprocessing, from its checkpoint alone.

    Args:
        folder: The run's folder, such as `runs/first`.
        which: The checkpoint's name: "best" or "last".

    Raises:
        InputError: If there is no such checkpoint.
    """
    import torch
    from lightning.pytorch import LightningDataModule, LightningModule

    path = Path(folder, CHECKPOINTS, f"{which}.ckpt")
    if not path.exists():
        raise InputError(f"{path}: there is no such checkpoint")
    # The base classes find the classes that were trained by their names in the checkpoint, if they are imported.
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    for part in ("hyper_parameters", "datamodule_hyper_parameters"):
        is_known_class(content[part]["_class_path"], object)
    model = LightningModule.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    datamodule = LightningDataModule.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    return Run(model.eval(), datamodule)


def is_known_class(class_path: Any, base: type) -> bool:
    """Tell whether a checkpoint may have a class made: one of this package, or one that you have named yourself.

    All else that it asks for may run code: any module when it is imported, any function when it is called.
    """
    module, _, name = str(class_path).rpartition(".")
    if module.partition(".")[0] == __name__.partition(".")[0]:
        with suppress(ImportError):
            import_module(module)
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and issubclass(found, base)


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
