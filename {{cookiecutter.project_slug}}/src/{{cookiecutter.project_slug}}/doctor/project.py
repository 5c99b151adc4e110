"""The project's own model and data, as `fit` builds them, and a few steps of training on one device, measured."""

import logging
import sys
import time
import traceback
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.fabric.utilities.data import sized_len
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader
from torch.utils.weak import WeakIdKeyDictionary

from ..engine.callbacks import ActivationCheckpointing
from ..engine.cli import CLI, as_input_error
from ..engine.errors import InputError
from ..engine.fsdp import units
from ..engine.known_options import DEFAULT_CONFIG
from ..engine.optimizer import FusedOptimizer
from ..engine.replay import Replay, ReplayLoader
from ..train import FACTS
from .arithmetic import Sizes
from .findings import Finding, size
from .launcher import no_launcher

CHANGES_MEMORY = f"{ActivationCheckpointing.__module__}.{ActivationCheckpointing.__qualname__}"
MEASURED = 1  # number of the step whose memory is counted: the first one makes the optimizer's state
LEAST_STEPS, ENOUGH_SECONDS = 4, 1.0


class Project(CLI):
    """The command line of `fit`, which makes the model and the datamodule and stops there."""

    def __init__(self, options: Sequence[str]) -> None:
        super().__init__(["fit", *options], FACTS, ())

    def before_instantiate_classes(self) -> None:
        self._dump_config()
        self.settings: dict[str, Any] = self.config_dump["trainer"]
        trainer = self.config[self.subcommand].trainer
        given = trainer.callbacks if isinstance(trainer.callbacks, list) else [trainer.callbacks]
        kept = [each for each in given if getattr(each, "class_path", None) == CHANGES_MEMORY]
        # Nothing else of the run is made: a logger may open a file or a connection.
        nothing = {"logger": False, "callbacks": kept, "strategy": "auto", "plugins": None, "profiler": None}
        for name, value in nothing.items():
            trainer[name] = value

    def instantiate_classes(self) -> None:
        LightningCLI.instantiate_classes(self)  # without the folder of a run
        self.kept_callbacks: list[Callback] = self._get(self.config_init, "trainer").callbacks

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        return None

    def _run_subcommand(self, subcommand: str) -> None:
        pass


@dataclass
class Measured:
    """What a few steps of training have shown.

    Attributes:
        project: The model, the datamodule, and the settings of the trainer.
        loader: The training dataloader as `fit` has it.
        rows: Rows of the training data; None where they cannot be counted.
        batch_size: Rows of a batch.
        batch_bytes: Bytes of a batch.
        parameters: Number of parameters.
        sizes: What the model and a batch take.
        optimizer: Name of the optimizer's class.
        seconds: Median time of a step, without loading.
        device: Where it was.
        precision: In which precision.
    """

    project: Project
    loader: Any
    rows: int | None
    batch_size: int
    batch_bytes: int
    parameters: int
    sizes: Sizes
    optimizer: str
    seconds: float
    device: str
    precision: str

    @property
    def accumulate(self) -> int:
        """Batches per optimizer step."""
        return int(self.project.settings["accumulate_grad_batches"])


class LiveBytes(TorchDispatchMode):
    """Count the bytes of tensors that are alive, those that autograd keeps for the backward pass included.

    Every operation's results are counted until they are freed. What an operation allocates for itself is not seen.

    Args:
        there: Tensors that were made before.
    """

    def __init__(self, there: Iterable[Tensor]) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known = WeakIdKeyDictionary()
        for tensor in there:
            self._add(tensor)
        self.start = self.live

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for result in tree_leaves(results):
            if isinstance(result, Tensor):
                self._add(result)
        return results

    def _add(self, tensor: Tensor) -> None:
        if tensor.layout != torch.strided:  # a sparse one has no storage
            return
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        self._known[storage] = True
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._remove, storage.nbytes())

    def _remove(self, count: int) -> None:
        self.live -= count


class _Probe(Callback):
    """Count the memory of one step, time the others, and stop."""

    def __init__(self) -> None:
        self.batch_size = self.batch_bytes = self.activations = self.block_outputs = 0
        self.state: tuple[int, int, int, int] = (0, 0, 0, 0)
        self.seconds: list[float] = []
        self.loader: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.loader = trainer.train_dataloader
        self._start = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        tensors = [leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor)]
        if batch_idx == 0:
            self.batch_bytes = sum(map(_bytes, tensors))
            self.batch_size = next((len(tensor) for tensor in tensors if tensor.dim()), 1)
        if batch_idx == MEASURED:
            everything = (*_parts(trainer, pl_module), tensors)
            self._handles = [block.register_forward_hook(self._count_output) for block in blocks(pl_module)]
            self._memory = LiveBytes(tensor for part in everything for tensor in part)
            self._memory.__enter__()
        self._step_start = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        now, number = time.perf_counter(), args[2]
        if number == MEASURED:
            self._memory.__exit__(None, None, None)
            self.activations = self._memory.peak - self._memory.start
            for handle in self._handles:
                handle.remove()
        elif number > MEASURED:
            self.seconds.append(now - self._step_start)
        if number >= LEAST_STEPS and now - self._start > ENOUGH_SECONDS:
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        parameters, buffers, gradients, optimizer = (sum(map(_bytes, part)) for part in _parts(trainer, pl_module))
        self.state = (parameters, buffers, gradients, optimizer)

    def _count_output(self, block: nn.Module, given: Any, result: Any) -> None:
        self.block_outputs += sum(_bytes(leaf) for leaf in tree_leaves(result) if isinstance(leaf, Tensor))


def parse(options: Sequence[str]) -> tuple[Project | None, Finding | None]:
    """Make the model and the datamodule as `fit` does; a misspelled option ends the process with one line.

    Returns:
        The project, or what is wrong with it.
    """
    with _quiet(), no_launcher():
        try:
            if not DEFAULT_CONFIG.exists() and not any(each.startswith(("-c", "--config")) for each in options):
                raise InputError(f"no {DEFAULT_CONFIG} in this folder: go to the project's folder")
            return Project(options), None
        except Exception as error:
            return None, _failure("model and data", error)


def try_steps(
    project: Project, accelerator: str, available: int | None = None
) -> tuple[Measured | None, Finding | None]:
    """Train for a few steps on one device, which leaves nothing.

    Args:
        project: The model and the datamodule.
        accelerator: Where to train: that of the config if it is here.
        available: Bytes of memory that a CPU may take; None where the system does not say.

    Returns:
        What was measured, or what is wrong.
    """
    settings = project.settings
    least = 2 * sum(map(_bytes, project.model.parameters()))  # with gradients
    if accelerator == "cpu" and available is not None and least > available:
        needs = f"parameters and gradients take {size(least)} on one device, and {size(available)} are available"
        return None, _too_large(needs, settings)
    probe, replay = _Probe(), Replay()
    with _quiet(), no_launcher(), TemporaryDirectory() as folder:
        try:
            trainer = Trainer(
                accelerator=accelerator,
                devices=1,
                precision=settings["precision"],
                max_epochs=settings["max_epochs"],
                limit_train_batches=settings["limit_train_batches"],
                limit_val_batches=0,
                num_sanity_val_steps=0,
                gradient_clip_val=settings["gradient_clip_val"],
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                callbacks=[*project.kept_callbacks, replay, FusedOptimizer(), probe],
                plugins=[LightningEnvironment()],
                default_root_dir=folder,
            )
            trainer.fit(project.model, datamodule=project.datamodule)
        except torch.OutOfMemoryError:
            return None, _too_large("a step does not fit in the memory of one device", settings)
        except Exception as error:
            return None, _failure("a step of training", error)
    model = project.model
    found = Measured(
        project=project,
        loader=probe.loader,
        rows=_rows(probe.loader),
        batch_size=probe.batch_size,
        batch_bytes=probe.batch_bytes,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        sizes=Sizes(*probe.state, probe.activations, largest_unit(model), probe.block_outputs),
        optimizer=" and ".join(type(each).__name__ for each in trainer.optimizers),
        seconds=sorted(probe.seconds)[len(probe.seconds) // 2] if probe.seconds else 0.0,
        device=trainer.strategy.root_device.type,
        precision=str(trainer.precision),
    )
    return found, None


def rebuilt(loader: Any, workers: int) -> Any:
    """Make a training dataloader again with another number of workers, as `fit` would have it; None if it cannot be."""
    if not isinstance(loader, ReplayLoader) or not isinstance(loader.loader, DataLoader):
        return None
    copy = object.__new__(type(loader.loader))
    vars(copy).update(vars(loader.loader))
    # A DataLoader refuses to have some of these set.
    settings = {"num_workers": workers, "prefetch_factor": 2 if workers else None, "persistent_workers": workers > 0}
    vars(copy).update(settings)
    copy._iterator = None
    if not workers:
        vars(copy)["_DataLoader__multiprocessing_context"] = None
    return ReplayLoader(copy, loader.replay)


def largest_unit(model: nn.Module) -> int:
    """Return the bytes of the largest part of a model that FSDP gathers at once."""
    seen: set[nn.Parameter] = set()
    largest = 0
    for unit in units(model):  # inner ones come first
        own = set(unit.parameters()) - seen
        seen |= own
        largest = max(largest, sum(map(_bytes, own)))
    return largest


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """List the repeated blocks of a model: those in an `nn.ModuleList` that map tensors to tensors."""
    for part in model.modules():
        if isinstance(part, nn.ModuleList) and len(part) > 1:
            yield from (block for block in part if next(block.parameters(), None) is not None)


def _parts(trainer: Trainer, model: nn.Module) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    """List the tensors of parameters, buffers, gradients and optimizer state."""
    parameters: list[Tensor] = list(model.parameters())
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    states = [value for optimizer in trainer.optimizers for value in tree_leaves(dict(optimizer.state))]
    return parameters, list(model.buffers()), gradients, [value for value in states if isinstance(value, Tensor)]


def _bytes(tensor: Tensor) -> int:
    return 0 if is_lazy(tensor) else tensor.numel() * tensor.element_size()  # a lazy layer's come with its first batch


def _rows(loader: Any) -> int | None:
    dataset = getattr(loader, "dataset", None)
    if isinstance(loader, (Mapping, list, tuple)) or dataset is None:
        return None
    return sized_len(dataset)


def _too_large(found: str, settings: dict[str, Any]) -> Finding:
    do = "smaller batches, configs/callbacks/activation_checkpointing.yaml, configs/strategy/fsdp.yaml: docs/scaling.md"
    is_sharded = not str(settings["strategy"]).startswith(("auto", "ddp"))
    return Finding("memory", found, "" if is_sharded else do, fatal=not is_sharded)


def _failure(what: str, error: Exception) -> Finding:
    message = as_input_error(error)
    if message is None:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        [first, *_] = str(error).splitlines() or [""]
        message = f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}: {first}"
    return Finding(what, "fails", " ".join(message.split()), fatal=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Print what is printed to stderr, and neither hints nor warnings: stdout is for what was found."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
