"""Checkpoints: find, trust and restore them. `--ckpt_path` and `load_run` both come in here.

Every checkpoint of a run holds, beside what Lightning saves, the part of the config that made its model, data and
optimizer. So a class comes back as it was trained, whether or not it calls `save_hyperparameters()`.
"""

from __future__ import annotations

import pickle
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn, optim

from .errors import InputError
from .predictions import to_columns
from .runs import CHECKPOINTS

CONFIG = "made_from"  # where a checkpoint keeps its part of the config
BASES: dict[str, tuple[type, ...]] = {"model": (LightningModule,), "data": (LightningDataModule,)}
# What else a config may name: the parts of a model and its optimizer.
PARTS = (nn.Module, optim.Optimizer, optim.lr_scheduler.LRScheduler)
# Packages that a checkpoint may have imported; everything else must be imported already.
TRUSTED = {__name__.partition(".")[0], "lightning", "torch", "torchmetrics", "torchvision"}
UNREADABLE = (EOFError, OSError, RuntimeError, pickle.UnpicklingError)  # raised by torch.load for other files


class SaveConfig(Callback):
    """Keep in every checkpoint the config that made the model, data and optimizer.

    Args:
        config: Plain values by section: `class_path` and `init_args`.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[CONFIG] = self.config


class LastCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, except that an exception before training starts saves nothing.

    Stock would overwrite last.ckpt with an untrained model when a resume fails.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = True
        super().on_train_start(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if getattr(self, "_started", False):
            super().on_exception(trainer, pl_module, exception)


class Checkpoint(NamedTuple):
    """A checkpoint that is safe to load, and the config that made it.

    Attributes:
        path: The file.
        config: `class_path` and `init_args` of the sections model and data, perhaps optimizer and lr_scheduler. A
            checkpoint of a hand-written Trainer has no `class_path`.
        content: Everything in the file, as plain values and tensors.
    """

    path: Path
    config: dict[str, Any]
    content: dict[str, Any]

    def restore_state(self, datamodule: LightningDataModule) -> None:
        """Give a datamodule the state it had in training, by Lightning's own hook `load_state_dict`."""
        if state := self.content.get(type(datamodule).__qualname__):
            datamodule.load_state_dict(state)

    def make(self, section: str, **changes: Any) -> Any:
        """Make the model or the datamodule as the config says, with some arguments changed."""
        made = self.config[section]
        base = BASES[section][0]
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(base, section, fail_untyped=False)
        settings = {"class_path": made["class_path"], "init_args": made["init_args"] | changes}
        return parser.instantiate_classes(parser.parse_object({section: settings}))[section]


class Run(NamedTuple):
    """A trained model with the data it was trained on.

    Attributes:
        model: In eval mode, on the CPU.
        datamodule: With everything it measured on the training data; `setup()` reads the data.
        checkpoint: Where both come from.
    """

    model: LightningModule
    datamodule: LightningDataModule
    checkpoint: Checkpoint

    def predict(self, **data: Any) -> dict[str, list[Any]]:
        """Predict for new data: `run.predict(path="new.csv")`.

        Args:
            data: Settings of the datamodule to change.

        Returns:
            The columns that `predict` on the command line writes.
        """
        datamodule = self.checkpoint.make("data", **data)
        self.checkpoint.restore_state(datamodule)
        datamodule.prepare_data()
        datamodule.setup("predict")
        columns: dict[str, list[Any]] = {}
        with torch.inference_mode():
            for index, batch in enumerate(datamodule.predict_dataloader()):
                prediction = self.model.predict_step(batch, index)
                start = len(next(iter(columns.values()), []))
                for name, values in to_columns(datamodule, prediction, start=start).items():
                    columns.setdefault(name, []).extend(values)
        return columns


def load_run(
    path: str | Path,
    which: str = "best",
    model: type[LightningModule] | None = None,
    datamodule: type[LightningDataModule] | None = None,
) -> Run:
    """Load a trained model with its data, from its checkpoint alone.

    Args:
        path: A run's folder, such as `runs/first`, or a checkpoint.
        which: The checkpoint in the folder: "best" or "last".
        model: Class of the model, for a checkpoint of a hand-written Trainer, which does not name it.
        datamodule: Class of the datamodule, likewise.

    Raises:
        InputError: If there is no such checkpoint, or it cannot be loaded.
    """
    checkpoint = read(Path(path, CHECKPOINTS, f"{which}.ckpt") if Path(path).is_dir() else Path(path))
    for section, given in (("model", model), ("data", datamodule)):
        settings = checkpoint.config.setdefault(section, {"init_args": {}})
        if given is not None:
            settings["class_path"] = f"{given.__module__}.{given.__qualname__}"
        if "class_path" not in settings:
            argument = "datamodule" if section == "data" else section
            raise InputError(f"{path} does not name the class of its {argument}: pass it as {argument}=")
    trained = checkpoint.make("model")
    trained.load_state_dict(checkpoint.content["state_dict"])
    data = checkpoint.make("data")
    checkpoint.restore_state(data)
    return Run(trained.eval(), data, checkpoint)


def find(root: Path, which: str) -> Path:
    """Find the checkpoint `which` ("last" or "best") of the newest run, or take it as a path.

    Raises:
        InputError: If there is no run, or the newest one has no such checkpoint.
    """
    if which not in ("last", "best"):
        return Path(which)
    configs = sorted(root.glob("*/config.yaml"), key=lambda path: path.stat().st_mtime_ns)
    if not configs:
        raise InputError(f"--ckpt_path {which}: no run in {root} yet; train first with `fit`")
    newest = configs[-1].parent
    path = newest / CHECKPOINTS / f"{which}.ckpt"
    if not path.exists():
        raise InputError(f"--ckpt_path {which}: the newest run, {newest}, has none; name another checkpoint")
    return path


def read(path: Path) -> Checkpoint:
    """Read a checkpoint without running any code of its own.

    Raises:
        InputError: If it does not exist, is no checkpoint, or names code that is not this project's.
    """
    if not path.exists():
        raise InputError(f"{path}: no such checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UNREADABLE:
        raise InputError(f"{path}: not a checkpoint, or not safe to load") from None
    try:
        config = content.get(CONFIG) or _from_hparams(content)
        for section, settings in config.items():
            _require_trusted(path, section, settings, BASES.get(section, PARTS))
        content["state_dict"]
    except (AttributeError, KeyError, TypeError):
        raise InputError(f"{path}: not a checkpoint of Lightning") from None
    return Checkpoint(path, config, content)


def _from_hparams(content: dict[str, Any]) -> dict[str, Any]:
    """Build the config of a checkpoint that a hand-written Trainer or a stock LightningCLI saved."""
    config: dict[str, Any] = {}
    for section, key in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
        arguments = {name: value for name, value in content.get(key, {}).items() if name != "_instantiator"}
        named = {"class_path": arguments.pop("_class_path")} if "_class_path" in arguments else {}
        if arguments or named:
            config[section] = named | {"init_args": arguments}
    return config


def _require_trusted(path: Path, section: str, settings: Any, bases: tuple[type, ...]) -> None:
    """Refuse a config that would import or call anything but this project's classes and parts of models.

    Args:
        path: The checkpoint.
        section: Section of the config.
        settings: The section, or a value in it.
        bases: What a class named here must inherit from.

    Raises:
        InputError: If it names anything else.
    """
    if isinstance(settings, dict):
        if "class_path" in settings and not _is_subclass(str(settings["class_path"]), bases):
            raise InputError(
                f"{path}: {settings['class_path']} is not a class of this project; if you trust it, name it with "
                f"--{section}"
            )
        for value in settings.values():
            _require_trusted(path, section, value, PARTS)
    elif isinstance(settings, (list, tuple)):
        for value in settings:
            _require_trusted(path, section, value, PARTS)


def _is_subclass(class_path: str, bases: tuple[type, ...]) -> bool:
    """Import a class from a trusted package, or look it up among what is imported, and compare it to its bases."""
    module, _, name = class_path.rpartition(".")
    if module.partition(".")[0] in TRUSTED:
        with suppress(ImportError):
            import_module(module)
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and issubclass(found, bases)
