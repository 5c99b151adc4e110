"""Callbacks for overlays in configs/callbacks/, where Lightning has none or its own prints a warning."""

import os
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ThroughputMonitor
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing

from .errors import InputError, listed, require_positive
from .runs import folder_of


class Compile(Callback):
    """Compile the model's `forward` with `torch.compile`.

    Args:
        backend: Backend of `torch.compile`.

    Raises:
        InputError: If there is no such backend.
    """

    def __init__(self, backend: str = "inductor") -> None:
        if backend not in (known := torch.compiler.list_backends(exclude_tags=())):
            raise InputError(f"--trainer.callbacks.backend {backend}: no such backend; there are {listed(known)}")
        self.backend = backend

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        pl_module.compile(backend=self.backend)


class ActivationCheckpointing(Callback):
    """Keep only the inputs of layers for the backward pass, and compute the rest again: less memory for more time.

    The numbers stay the same, dropout included. Checkpoints have the same names.

    Args:
        layers: Names of submodules that are each computed again as a whole, such as `network.layers.0`; by default all
            that are in an `nn.ModuleList`, as the blocks of a transformer are.

    Raises:
        InputError: If there are none.

    Source: Chen et al., Training deep nets with sublinear memory cost, 2016, https://arxiv.org/abs/1604.06174
    """

    def __init__(self, layers: list[str] | None = None) -> None:
        self.layers = layers

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        modules = dict(pl_module.named_modules())
        if unknown := [name for name in self.layers or () if name not in modules]:
            raise InputError(
                f"ActivationCheckpointing: no layer {listed(unknown)}; the model has {listed(list(modules)[1:])}"
            )
        names = self.layers or [
            f"{name}.{child}"
            for name, module in modules.items()
            if isinstance(module, nn.ModuleList)
            for child, _ in module.named_children()
        ]
        # A layer within another one is computed again with it.
        chosen = {id(modules[name]) for name in names if not any(name.startswith(f"{other}.") for other in names)}
        if not chosen:
            raise InputError(
                "ActivationCheckpointing: the model has no nn.ModuleList; name its layers with "
                "--trainer.callbacks.layers"
            )
        apply_activation_checkpointing(pl_module, check_fn=lambda module: id(module) in chosen)


class Trace(Callback):
    """Trace some training steps with PyTorch's profiler, on every process.

    It writes into the run's folder, with the rank for 0: `trace-0.json`, for https://ui.perfetto.dev, and
    `profile-0.txt`, a table of the operations that took the most time.

    Args:
        skip: Steps before, which are slower than the others.
        steps: Steps to trace.
        record_shapes: Whether to note the shapes of tensors.
        profile_memory: Whether to note when memory is allocated.
        with_stack: Whether to note the lines of the source.

    Source: https://docs.pytorch.org/docs/stable/profiler.html
    """

    def __init__(
        self,
        skip: int = 3,
        steps: int = 10,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
    ) -> None:
        require_positive("trainer.callbacks", steps=steps)
        self.schedule = torch.profiler.schedule(wait=max(0, skip - 1), warmup=min(1, skip), active=steps, repeat=1)
        self.settings: dict[str, Any] = {
            "record_shapes": record_shapes,
            "profile_memory": profile_memory,
            "with_stack": with_stack,
        }
        self.profile: torch.profiler.profile | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = trainer.strategy.broadcast(folder_of(trainer))
        if folder is None:
            return
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler logs that it has found no GPU as an error

        def write(profile: torch.profiler.profile) -> None:
            profile.export_chrome_trace(str(folder / f"trace-{trainer.global_rank}.json"))
            events = profile.key_averages()
            device = "cpu" if trainer.strategy.root_device.type == "cpu" else "device"
            table = events.table(sort_by=f"self_{device}_time_total", row_limit=30)
            (folder / f"profile-{trainer.global_rank}.txt").write_text(table, encoding="utf-8")

        self.profile = torch.profiler.profile(
            schedule=self.schedule, on_trace_ready=write, acc_events=True, **self.settings
        )
        self.profile.start()

    def on_train_batch_end(self, *args: Any) -> None:
        if self.profile is not None:
            self.profile.step()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(self, *args: Any) -> None:
        self._stop()

    def _stop(self) -> None:
        if self.profile is not None:
            self.profile.stop()
            self.profile = None


class Throughput(ThroughputMonitor):
    """Log batches, samples and items (such as tokens) per second, counted in the first tensor of a batch."""

    def __init__(self) -> None:
        super().__init__(batch_size_fn=_samples, length_fn=_items, window_size=10)
        self._module_has_flops = False  # without it, Lightning warns that `flops_per_batch` is missing


def _samples(batch: Any) -> int:
    return len(_input(batch))


def _items(batch: Any) -> int:
    return int(_input(batch).shape[:2].numel())  # of text: sequences times tokens


def _input(batch: Any) -> Tensor:
    """Return the first tensor of a batch."""
    if isinstance(batch, Tensor):
        return batch
    return _input(next(iter(batch.values())) if isinstance(batch, dict) else batch[0])
