"""`self.log` without the checks that Lightning repeats for every batch.

The first call with a name goes through Lightning. Later calls with the same options only update the value that
Lightning keeps under that name.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultCollection
from torch import Tensor
from torchmetrics import Metric


class Results(_ResultCollection):
    """Lightning's logged values; to log one again checks and moves nothing.

    Args:
        training: Whether they are those of the training.
    """

    def __init__(self, training: bool) -> None:
        super().__init__(training)
        self._options: dict[str, dict[str, Any]] = {}

    def log(self, fx: str, name: str, value: Any, *, batch_size: int | None = None, **options: Any) -> None:
        key = f"{fx}.{name}"
        if self.dataloader_idx is not None and options.get("add_dataloader_idx", True):
            key += f".{self.dataloader_idx}"
        if options != self._options.get(key) or not self.log_again(key, value, batch_size):
            super().log(fx, name, value, batch_size=batch_size, **options)
            self._options[key] = options

    def log_again(self, key: str, value: Any, batch_size: int | None) -> bool:
        """Update a value that was logged before with the same options.

        Args:
            key: Hook and name, as Lightning joins them.
            value: A tensor without dimensions, or the metric that was logged before.
            batch_size: Rows that it is the mean of; by default those of the current batch.

        Returns:
            Whether it could be updated; otherwise Lightning has to check it.
        """
        kept = self.get(key)
        if kept is None or kept.meta.enable_graph:
            return False
        if kept.is_tensor:
            if not isinstance(value, Tensor) or value.device != kept.value.device:
                return False
            value = value.detach()
        elif value is not kept.value:
            return False
        self.update_metrics(key, value, self._extract_batch_size(kept, batch_size, kept.meta))
        return True


class StepLog:
    """The `log` of a model while it trains.

    Args:
        trainer: Trains the model.
        results: Where the values of its training are kept.
    """

    def __init__(self, trainer: Trainer, results: Results) -> None:
        self.trainer = trainer
        self.model = trainer.lightning_module
        self.connector = trainer._logger_connector
        self.results = results
        self._options: dict[str, dict[str, Any]] = {}

    def __call__(self, name: str, value: Any, *args: Any, batch_size: int | None = None, **options: Any) -> None:
        model, connector = self.model, self.connector
        hook = model._current_fx_name
        key = f"{hook}.{name}"
        # In the first batch of an epoch, Lightning resets the values of the last one.
        if not args and options == self._options.get(key) and connector._first_loop_iter is False:
            is_plain = value.ndim == 0 if isinstance(value, Tensor) else isinstance(value, Metric)
            if is_plain and self.results.log_again(key, value, batch_size):
                connector._current_fx = hook
                return
        LightningModule.log(model, name, value, *args, **options | {"batch_size": batch_size})
        if not args and self.trainer.training:
            self._options[key] = options
