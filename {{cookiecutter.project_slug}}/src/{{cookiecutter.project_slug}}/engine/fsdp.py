"""FSDP2 for models without `configure_model`."""

from collections.abc import Iterator
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import nn
from torch.distributed.fsdp import fully_shard


class FSDP2Strategy(ModelParallelStrategy):
    """Shard parameters, gradients and optimizer state over all processes.

    Lightning's strategy expects every model to shard itself in `configure_model`; this one adds that method to models
    without it, so that the math stays free of it. Each child of the model is sharded as one unit, and so is each block
    in an `nn.ModuleList`. Checkpoints are ordinary single files.

    Source: https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()
        module = self.lightning_module
        assert module is not None, "the Trainer connects the model before it sets up the processes"
        if not is_overridden("configure_model", module):
            module.configure_model = MethodType(_shard, module)  # type: ignore[method-assign]

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        # Lightning 2.6 fails to restore an optimizer without state, such as plain SGD.
        saved = torch.load(checkpoint_path, map_location="cpu", mmap=True, weights_only=True).get(
            "optimizer_states", []
        )
        if any(optimizer["state"] for optimizer in saved):
            return super().load_checkpoint(checkpoint_path, weights_only)
        optimizers, self.optimizers = self.optimizers, []
        try:
            return super().load_checkpoint(checkpoint_path, weights_only)
        finally:
            self.optimizers = optimizers


def units(module: nn.Module) -> Iterator[nn.Module]:
    """List the parts of a model that are each gathered at once: its children, and blocks in an `nn.ModuleList`."""
    for layer in module.children():
        lists = [part for part in layer.modules() if isinstance(part, nn.ModuleList)]
        blocks = [block for part in lists for block in part]
        for unit in blocks if isinstance(layer, nn.ModuleList) else [*blocks, layer]:
            if next(unit.parameters(), None) is not None:
                yield unit


def _shard(module: LightningModule) -> None:
    mesh = module.device_mesh
    assert mesh is not None, "the strategy has made the mesh"
    for unit in units(module):
        fully_shard(unit, mesh=mesh["data_parallel"])
