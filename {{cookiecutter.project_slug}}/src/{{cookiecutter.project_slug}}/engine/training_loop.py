"""Lightning's training loop without the overhead that a small model feels.

For every batch, Lightning opens a profiler context around some fifteen hooks of every callback, whether it implements
them or not, inspects the signature of `training_step`, and collects all metrics twice. This loop calls the same hooks
in the same order and computes the same numbers. Where a run needs more (several processes, manual optimization, a
profiler, scaled gradients, a model with its own `optimizer_step`), Lightning's loop does the work.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loops.fetchers import _PrefetchDataFetcher
from lightning.pytorch.loops.optimization.automatic import Closure, ClosureResult
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins import MixedPrecision, Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor
from torch.optim import Optimizer

from .step_log import Results, StepLog

HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
TRANSFERS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
LOOK_THROUGH_DRIVER = "PYTORCH_NVML_BASED_CUDA_CHECK"
# Hooks of a model that change how a batch is trained
OWN_STEP = ("on_train_batch_start", "optimizer_step")


def install(trainer: Trainer) -> None:
    """Let a trainer use this loop; call it before `fit`."""
    if not torch.accelerator.is_available():
        # Lightning sets it, and then every step of Adam would look for GPUs through a library loaded anew: 0.1 ms.
        os.environ.pop(LOOK_THROUGH_DRIVER, None)
    stock = trainer.fit_loop.epoch_loop
    trainer.fit_loop.epoch_loop = LeanEpochLoop(trainer, min_steps=stock.min_steps, max_steps=stock.max_steps)


def needs_stock(trainer: Any, fetcher: Any) -> bool:
    """Tell whether a run asks for something that only Lightning's loop does."""
    model: Any = trainer.lightning_module
    precision = trainer.precision_plugin
    unscaled: bool = type(precision) is Precision or (type(precision) is MixedPrecision and precision.scaler is None)
    return not (
        unscaled
        and model.automatic_optimization
        and type(trainer.strategy) is SingleDeviceStrategy
        and trainer.strategy.model is model
        and type(fetcher) is _PrefetchDataFetcher
        and isinstance(trainer.profiler, PassThroughProfiler)
        and len(trainer.optimizers) == 1
        and not any(is_overridden(name, model) for name in OWN_STEP)
    )


class LeanEpochLoop(_TrainingEpochLoop):
    """One epoch of training."""

    def __init__(self, trainer: Trainer, min_steps: int | None, max_steps: int) -> None:
        super().__init__(trainer, min_steps=min_steps, max_steps=max_steps)
        self._results: Results = Results(training=True)
        self.val_loop._results = Results(training=False)
        self._lean: _LeanStep | None = None

    def run(self, data_fetcher: Any) -> None:
        model = self.trainer.lightning_module
        self._lean = None if needs_stock(self.trainer, data_fetcher) else _LeanStep(self)
        if self._lean and not is_overridden("log", model):
            # In its __dict__, so that neither the class nor another model is changed
            vars(model)["log"] = StepLog(self.trainer, self._results)
        try:
            super().run(data_fetcher)
        finally:
            vars(model).pop("log", None)
            self._lean = None

    def advance(self, data_fetcher: Any) -> None:
        if self._lean is None or self.restarting:
            super().advance(data_fetcher)
        else:
            self._lean.advance(data_fetcher)


class _LeanStep:
    """Train on single batches; what does not change within an epoch is looked up once.

    Args:
        loop: The loop that keeps the progress.
    """

    def __init__(self, loop: LeanEpochLoop) -> None:
        self.loop = loop
        self.trainer: Any = loop.trainer  # it has attributes that it does not declare
        trainer = self.trainer
        self.model = model = trainer.lightning_module
        self.state = vars(model)  # nn.Module's __setattr__ takes longer than some hooks
        self.connector = trainer._logger_connector
        self.optimizer: Any = trainer.optimizers[0]
        progress = loop.automatic_optimization.optim_progress.optimizer
        self.step_progress, self.zero_grad_progress = progress.step, progress.zero_grad
        self.hooks = {name: _implementations(trainer, name) for name in HOOKS}
        self.training_step = model.training_step
        takes_index = is_param_in_hook_signature(self.training_step, "batch_idx", min_args=2)
        self.arguments = 2 if takes_index else 1
        precision = trainer.precision_plugin
        self.context = nullcontext if type(precision) is Precision else precision.train_step_context
        source = trainer._data_connector._datahook_selector
        assert source is not None
        owners = (model, source.datamodule)
        self.moves = any(is_overridden(name, owner) for name in TRANSFERS for owner in owners if owner is not None)
        self.clips = trainer.gradient_clip_val or is_overridden("configure_gradient_clipping", model)
        # PyTorch's own records itself for a profiler, which takes longer than to zero the gradients of a small model.
        plain = getattr(self.optimizer.zero_grad, "__func__", None) is Optimizer.zero_grad
        own = is_overridden("optimizer_zero_grad", model)
        self.zero_grad = _zero_grad if plain and not own else model.optimizer_zero_grad

    def advance(self, fetcher: Any) -> None:
        """Do what `_TrainingEpochLoop.advance` does."""
        loop, connector, progress = self.loop, self.connector, self.loop.batch_progress
        if loop.val_loop.restarting:  # a resumed run that was saved after a validation skips that one
            loop.val_loop.restarting = False
        batch, _, _ = next(fetcher)
        index = loop.batch_idx + 1
        progress.is_last_batch = fetcher.done
        batch = self.move(batch)
        progress.increment_ready()
        connector.on_batch_start(batch)
        output: dict[str, Any] | None = None
        if batch is None:
            loop._warning_cache.warn("the train_dataloader yielded `None`, so that batch is skipped")
        else:
            self.call("on_train_batch_start", batch, index)
            progress.increment_started()
            output = self.train(batch, index)
        progress.increment_processed()
        is_last = loop._num_ready_batches_reached()
        if self.trainer.lr_scheduler_configs:
            loop.update_lr_schedulers("step", update_plateau_schedulers=False)
            if is_last:
                loop.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        self.call("on_train_batch_end", output, batch, index)
        is_due = self.is_due()
        if is_due or is_last or loop._is_training_done:
            connector.on_batch_end()
        else:  # nobody reads the metrics before the next batch, but through properties that collect them
            results = loop._results
            results.batch = results.batch_size = None
        progress.increment_completed()
        if is_due:
            connector.update_train_step_metrics()

    def is_due(self) -> bool:
        """Tell whether this step is logged."""
        trainer = self.trainer
        if trainer.fast_dev_run:
            return True
        every = trainer.log_every_n_steps
        return bool(every) and (trainer.should_stop or (self.loop._batches_that_stepped + 1) % every == 0)

    def move(self, batch: Any) -> Any:
        """Move a batch to the device of the model."""
        if self.moves:
            batch = self.model._on_before_batch_transfer(batch, dataloader_idx=0)
            return self.trainer.strategy.batch_to_device(batch, dataloader_idx=0)
        device = self.model.device
        parts = batch if isinstance(batch, (tuple, list)) else (batch,)
        if all(type(part) is Tensor and part.device == device for part in parts):
            return batch
        return move_data_to_device(batch, device)

    def train(self, batch: Any, index: int) -> dict[str, Any]:
        """Do what `_AutomaticOptimization.run` does."""
        self.batch, self.index = batch, index
        self.output: dict[str, Any] = {}
        if self.loop._should_accumulate():
            self.add_gradients()
        else:
            self.step_progress.increment_ready()
            self.optimizer.step(closure=self.closure)
            self.step_progress.increment_completed()
        return self.output

    def closure(self) -> Tensor | None:
        """Compute the gradients for an optimizer step, clipped if the run asks for that."""
        loss = self.add_gradients()
        self.call("on_before_optimizer_step", self.optimizer)
        if self.clips:
            trainer = self.trainer
            trainer.precision_plugin._clip_gradients(
                self.model,
                self.optimizer,
                trainer.gradient_clip_val,
                gradient_clip_algorithm=trainer.gradient_clip_algorithm,
            )
        return loss

    @torch.enable_grad()
    def add_gradients(self) -> Tensor | None:
        """Compute the loss and its gradients, and return it without its graph."""
        self.state["_current_fx_name"] = "training_step"
        with self.context():
            returned = self.training_step(*(self.batch, self.index)[: self.arguments])
        self.state["_current_fx_name"] = None
        batches = self.trainer.accumulate_grad_batches
        if isinstance(returned, Tensor) and batches == 1:
            loss: Tensor | None = returned
            self.output = {"loss": returned.detach()}
        else:
            result = ClosureResult.from_training_step_output(returned, batches)
            loss = result.closure_loss
            self.output = {} if loss is None else result.asdict()
        if loss is None:
            Closure.warning_cache.warn("`training_step` returned `None`, so its batch is skipped")
        if self.index % batches == 0:
            self.zero_gradients()
        if loss is None:
            return None
        self.call("on_before_backward", loss)
        self.model.backward(loss)
        self.call("on_after_backward")
        return self.output["loss"]

    def zero_gradients(self) -> None:
        """Zero the gradients before the first batch of an optimizer step."""
        self.zero_grad_progress.increment_ready()
        self.call("on_before_zero_grad", self.optimizer)
        self.zero_grad_progress.increment_started()
        self.zero_grad(self.trainer.current_epoch, self.index, self.optimizer)
        self.zero_grad_progress.increment_completed()

    def call(self, name: str, *args: Any) -> None:
        """Call a hook of the callbacks and the model that implement it."""
        if hooks := self.hooks[name]:
            self.state["_current_fx_name"] = name
            for hook in hooks:
                hook(*args)
            self.state["_current_fx_name"] = None


def _zero_grad(epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
    """Do what `Optimizer.zero_grad` does."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def _implementations(trainer: Trainer, name: str) -> list[Callable[..., Any]]:
    """List a hook of the callbacks and then the model, where it does anything."""
    model = trainer.lightning_module
    found: list[Callable[..., Any]] = []
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        hook = getattr(callback, name)
        if getattr(hook, "__func__", None) is not getattr(Callback, name):
            found.append(partial(hook, trainer, model))
    return [*found, getattr(model, name)] if is_overridden(name, model) else found
