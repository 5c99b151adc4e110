"""Checkpoints: find, trust and restore them. `--ckpt_path` and `load_run` both go through this module.

Every checkpoint of a run holds, beside what Lightning saves, the part of the config that made its model, data and
optimizer. So a class comes back as it was trained, whether or not it calls `save_hyperparameters()`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import nn, optim

from .commands import list_runs
from .durable import require_whole
from .errors import InputError
from .predictions import to_columns
from .runs import CHECKPOINTS

CONFIG = "made_from"  # where a checkpoint keeps its part of the config
BASES: dict[str, type] = {"model": LightningModule, "data": LightningDataModule}
SECTIONS = (*BASES, "optimizer", "lr_scheduler")
# Other classes these sections may name: modules, optimizers and schedulers.
PARTS = (nn.Module, optim.Optimizer, optim.lr_scheduler.LRScheduler)
# Packages a checkpoint may import from; classes of others must be imported already.
TRUSTED = {__name__.partition(".")[0], "lightning", "torch", "torchmetrics", "torchvision"}
PLAIN = (bool, int, float, str, list, tuple, dict, type(None))  # what a config holds
MALFORMED = (AttributeError, KeyError, TypeError)  # raised for content of another form


class SaveConfig(Callback):
    """Keep in every checkpoint the config that made the model, data and optimizer.

    Args:
        config: Plain values by section: `class_path` and `init_args`.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[CONFIG] = self.config


class Checkpoint(NamedTuple):
    """A checkpoint that is safe to load, and the config of its model and data.

    Attributes:
        path: The file.
        config: `class_path` and `init_args` of the sections model and data, perhaps optimizer and lr_scheduler. A
            checkpoint of a hand-written Trainer has no `class_path`.
        content: Everything in the file, as plain values and tensors.
    """

    path: Path
    config: dict[str, Any]
    content: dict[str, Any]

    def require_resumable(self, max_epochs: int | None = None) -> None:
        """Check that training can go on from here.

        Args:
            max_epochs: Epochs that are asked for; -1 or None for no limit.

        Raises:
            InputError: If it holds weights only, or has more epochs.
        """
        if "optimizer_states" not in self.content or "loops" not in self.content:
            raise InputError(f"{self.path}: holds weights only; start from it with --ckpt_path in `validate` or `test`")
        done = self.content["loops"]["fit_loop"]["epoch_progress"]["current"]["completed"]
        if max_epochs not in (None, -1) and done > max_epochs:
            raise InputError(f"--trainer.max_epochs {max_epochs}: {self.path} already has {done} epochs; ask for more")

    def restore_state(self, datamodule: LightningDataModule) -> None:
        """Restore the state a datamodule had in training, through Lightning's own hook `load_state_dict`."""
        if state := self.content.get(type(datamodule).__qualname__):
            datamodule.load_state_dict(state)

    def make(self, section: str, **changes: Any) -> Any:
        """Make the model or the datamodule as the config says, with some arguments changed."""
        made = self.config[section]
        plain = {name: value for name, value in changes.items() if isinstance(value, PLAIN)}
        objects = {name: value for name, value in changes.items() if name not in plain}
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(BASES[section], section, fail_untyped=False)
        # jsonargparse would compare an object, such as a DataFrame, to texts.
        parser.add_instantiator(lambda kind, *args, **kwargs: kind(*args, **kwargs | objects), BASES[section])
        settings = made | {"init_args": made.get("init_args", {}) | plain}
        with trusted_imports(self.config):
            return parser.instantiate_classes(parser.parse_object({section: settings}))[section]


class Run(NamedTuple):
    """A trained model with the data it was trained on.

    Attributes:
        model: In eval mode, on the CPU.
        datamodule: A LightningDataModule with its state from training; `setup()` reads the data. None if the model was
            trained without one.
        checkpoint: The checkpoint both were loaded from.
    """

    model: LightningModule
    datamodule: Any
    checkpoint: Checkpoint

    def predict(self, path: Any = None, **data: Any) -> dict[str, list[Any]]:
        """Predict for new data: `run.predict("new.csv")`.

        Args:
            path: Where the data are, as the datamodule's argument `path`; tables also take a DataFrame.
            data: Other settings of the datamodule to change.

        Returns:
            The columns that `predict` on the command line writes after `row`.

        Raises:
            InputError: If the model was trained without a datamodule.
        """
        if self.datamodule is None:
            raise InputError("the model was trained without a datamodule: call run.model instead")
        datamodule = self.checkpoint.make("data", **({} if path is None else {"path": path}), **data)
        self.checkpoint.restore_state(datamodule)
        datamodule.prepare_data()
        datamodule.setup("predict")
        columns: dict[str, list[Any]] = {}
        with torch.inference_mode():
            for index, batch in enumerate(datamodule.predict_dataloader()):
                prediction = self.model.predict_step(batch, index)
                start = len(next(iter(columns.values()), []))
                for name, values in to_columns(datamodule, prediction, start=start).items():
                    columns.setdefault(name, [None] * start).extend(values)
        longest = max(map(len, columns.values()), default=0)
        return {name: values + [None] * (longest - len(values)) for name, values in columns.items()}


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
        if given is not None:
            settings = checkpoint.config.setdefault(section, {})
            settings["class_path"] = f"{given.__module__}.{given.__qualname__}"
    for section, argument in (("model", "model"), ("data", "datamodule")):
        if "class_path" not in checkpoint.config.get(section, {"class_path": None} if section == "data" else {}):
            raise InputError(f"{path} does not name the class of its {argument}: pass it as {argument}=")
    trained = checkpoint.make("model")
    trained.configure_model()
    trained.on_load_checkpoint(checkpoint.content)
    try:
        trained.load_state_dict(checkpoint.content["state_dict"])
    except RuntimeError as error:
        raise InputError(f"{path} does not fit its model: {str(error).splitlines()[1].strip()}") from None
    data = checkpoint.make("data") if "data" in checkpoint.config else None
    if data is not None:
        checkpoint.restore_state(data)
    return Run(trained.eval(), data, checkpoint)


def find(root: Path, which: str) -> Checkpoint:
    """Read the checkpoint `which` ("last" or "best") of the newest run, or one given by its path.

    For "last", it is the newest one that is whole; damaged ones are named and passed over.

    Raises:
        InputError: If there is no run, or the newest one has no such checkpoint.
    """
    if which not in ("last", "best"):
        return read(Path(which))
    if not (there := list_runs(root)):
        raise InputError(f"--ckpt_path {which}: no run in {root} yet; train first with `fit`")
    if checkpoint := find_in(there[-1], which):
        return checkpoint
    raise InputError(
        f"--ckpt_path {which}: the newest run, {there[-1]}, ended before it saved a checkpoint; name one of another run"
    )


def find_in(folder: Path, which: str) -> Checkpoint | None:
    """Read the checkpoint `which` of a run, as `find` does; None if it has saved none.

    Raises:
        InputError: If all are damaged.
    """
    names = ("last", "best") if which == "last" else ("best",)
    paths = [path for name in names if (path := folder / CHECKPOINTS / f"{name}.ckpt").exists()]
    flaws: list[str] = []
    for path in sorted(paths, key=lambda path: -path.stat().st_mtime_ns):
        try:
            checkpoint = read(path)
            if which == "last":
                checkpoint.require_resumable()
        except InputError as error:
            flaws.append(str(error))
        else:
            for flaw in flaws:
                rank_zero_info(f"{flaw}; taking {path}")
            return checkpoint
    if flaws:
        raise InputError("; ".join(flaws))
    return None


def read(path: Path) -> Checkpoint:
    """Read a checkpoint without executing code from it.

    Raises:
        InputError: If it does not exist, is damaged or no checkpoint, or names code that is not this project's.
    """
    if not path.exists():
        raise InputError(f"{path}: no such checkpoint")
    if path.is_dir():
        raise InputError(f"{path}: a folder; name a checkpoint in it")
    require_whole(path)
    try:
        with _no_pickled_code():
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # what torch.load raises depends on what it is given
        raise InputError(f"{path}: not a checkpoint, or not safe to load: it holds more than plain values") from None
    try:
        if "state_dict" not in content:
            raise KeyError("state_dict")
        config = content.get(CONFIG) or _from_hparams(content)
        config = {section: config[section] for section in SECTIONS if section in config}
        for section, settings in config.items():
            if not isinstance(settings, dict):
                raise TypeError(section)
            _require_trusted(path, section, settings, BASES.get(section, PARTS))
    except MALFORMED:
        raise InputError(f"{path}: not a checkpoint of Lightning") from None
    return Checkpoint(path, config, content)


@contextmanager
def _no_pickled_code() -> Iterator[None]:
    """Load safely, whatever the environment says: PyTorch lets this variable overrule `weights_only=True`."""
    overruled = os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    try:
        yield
    finally:
        if overruled is not None:
            os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = overruled


def _from_hparams(content: dict[str, Any]) -> dict[str, Any]:
    """Build the config of a checkpoint that a hand-written Trainer or a stock LightningCLI saved."""
    config: dict[str, Any] = {}
    for section, key in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
        arguments = {name: value for name, value in content.get(key, {}).items() if name != "_instantiator"}
        named = {"class_path": arguments.pop("_class_path")} if "_class_path" in arguments else {}
        if arguments or named:
            config[section] = named | {"init_args": arguments}
    return config


def _require_trusted(path: Path, section: str, settings: Any, bases: type | tuple[type, ...]) -> None:
    """Refuse a config that would import or call anything but this project's classes and parts of models.

    Args:
        path: The checkpoint.
        section: Section of the config.
        settings: The section, or a value in it.
        bases: What a class named here must inherit from.

    Raises:
        InputError: If it names anything else.
    """
    values: list[Any] = []
    if isinstance(settings, dict):
        class_path = settings.get("class_path")
        if class_path is not None and not _is_subclass(str(class_path), bases):
            hint = f"if you trust it, name it with --{section}"
            raise InputError(f"{path}: {class_path} is not a class of this project; {hint}")
        values = [value for key, value in settings.items() if key != "class_path"]
    elif isinstance(settings, (list, tuple)):
        values = list(settings)
    elif isinstance(settings, str) and ("class_path" in settings or _names_function(settings)):
        # jsonargparse also reads configs and the names of functions from texts.
        raise InputError(f"{path}: {settings} is not part of this project")
    for value in values:
        _require_trusted(path, section, value, PARTS)


@contextmanager
def trusted_imports(config: dict[str, Any]) -> Iterator[None]:
    """Refuse to import what only a checkpoint's config names, while the config is parsed.

    Where an argument's type is a class or function, jsonargparse imports whatever the string names.
    """
    texts = [text for text in _texts(config) if text.partition(".")[0] not in TRUSTED]
    named = {".".join(text.split(".")[:length]) for text in texts for length in range(1, text.count(".") + 2)}
    guard = _ImportGuard(named)
    sys.meta_path.insert(0, guard)
    try:
        yield
    finally:
        sys.meta_path.remove(guard)


class _ImportGuard:
    """An import hook that rejects the given modules and leaves all others to the next one."""

    def __init__(self, refused: set[str]) -> None:
        self.refused = refused

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name in self.refused:
            raise InputError(f"the checkpoint asks to import {name}, which is not part of this project")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _names_function(text: str) -> bool:
    """Tell whether a text is the dotted name of something that is imported and can be called, outside of `TRUSTED`."""
    module, _, name = text.rpartition(".")
    return module.partition(".")[0] not in TRUSTED and callable(getattr(sys.modules.get(module), name, None))


def _is_subclass(class_path: str, bases: type | tuple[type, ...]) -> bool:
    """Import a class from a trusted package, or look it up among what is imported, and compare it to its bases."""
    module, _, name = class_path.rpartition(".")
    if module.partition(".")[0] in TRUSTED:
        with suppress(ImportError):
            import_module(module)
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and issubclass(found, bases)
