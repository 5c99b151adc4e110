"""Lightning's loggers, with what their web pages need: metrics in groups, settings in one table, one name per run.

Only the loggers of this file rename metrics: any other logger in `trainer.logger` gets the names that the model logs.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import loggers
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from .results import stage_and_metric

SECTIONS = ("model", "data", "optimizer", "lr_scheduler")  # of the config: classes and their arguments
SUMMARY = "summary"  # group of the result in TensorBoard
WRITE_EVERY = 1.0  # seconds, TensorBoard's events at most: waiting for its writer takes half a millisecond
NOWHERE = "http://nowhere.invalid"  # MLflow connects when it is asked for something, which only the first process does
TRAINER = ("max_epochs", "max_steps", "precision", "accumulate_grad_batches", "gradient_clip_val")


class Grouped:
    """A logger whose page shows training and validation of a metric side by side: `val_loss` is `loss/val` there.

    The resolved config takes the place of the hyperparameters that a model saves; see `log_settings`.
    """

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics({grouped(name): value for name, value in metrics.items()}, step)  # type: ignore[misc]

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Send nothing: `log_settings` sends more."""

    def log_settings(self, settings: dict[str, Any], result: str) -> None:
        """Send plain settings.

        Args:
            settings: Values by name, as `plain_settings` returns them.
            result: Name of the value that they lead to.
        """
        super().log_hyperparams(settings)  # type: ignore[misc]


class TensorBoardLogger(Grouped, loggers.TensorBoardLogger):
    """TensorBoard's, which keeps its events in the run's folder, since it names a run after the folder of its events.

    A run is a row in the table of hyperparameters from its start, without a file beside config.yaml.
    """

    _end: Any = None  # of the run's row
    _saved = -WRITE_EVERY

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        # Its straight line would cost an event with everything that is logged: some percent of a small model's time
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)

    @rank_zero_only
    def log_settings(self, settings: dict[str, Any], result: str) -> None:
        from torch.utils.tensorboard.summary import hparams

        columns, start, self._end = hparams(settings, {f"{SUMMARY}/{result}": 0.0})
        for summary in (columns, start):
            self.experiment._get_file_writer().add_summary(summary)

    @rank_zero_only
    def save(self) -> None:
        """Write events to the file, once a second at most: Lightning asks after every one; see `loggers.flush`."""
        if time.monotonic() - self._saved >= WRITE_EVERY:
            self.experiment.flush()
            self._saved = time.monotonic()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if status == "success" and self._end is not None:
            self.experiment._get_file_writer().add_summary(self._end)
        super().finalize(status)


class MLFlowLogger(Grouped, loggers.MLFlowLogger):
    """MLflow's, whose database only the first process opens: several that create its tables at once would fail."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if rank_zero_only.rank and "tracking_uri" in kwargs:  # type: ignore[attr-defined]
            kwargs["tracking_uri"] = NOWHERE
        super().__init__(*args, **kwargs)


class WandbLogger(Grouped, loggers.WandbLogger):
    """Weights & Biases', without `anonymous`, which Lightning 2.6 always passes and wandb warns that it is unknown."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._wandb_init.pop("anonymous", None)


def grouped(name: str) -> str:
    """Name a metric after its group: "train_loss_epoch" as "loss/train_epoch", "lr-SGD" as "trainer/lr-SGD"."""
    if name == "epoch" or name.startswith("lr-"):
        return f"trainer/{name}"  # as wandb names the step
    if (parts := stage_and_metric(name)) is None:
        return name
    stage, metric = parts
    return f"{metric}/{stage}{name[len(stage) + 1 + len(metric) :]}"


def plain_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return what matters of a config as numbers and strings: `{"model": "LitModel", "model.lr": 0.01, …}`."""
    found: dict[str, Any] = {"seed": config.get("seed_everything")}
    trainer = config.get("trainer") or {}
    found |= {f"trainer.{name}": trainer.get(name) for name in TRAINER}
    for section in SECTIONS:
        part = config.get(section) or {}
        found[section] = str(part.get("class_path", "")).rpartition(".")[2] or None
        found |= {f"{section}.{name}": value for name, value in (part.get("init_args") or {}).items()}
    return {
        name: value if isinstance(value, (bool, int, float, str)) else json.dumps(value, default=str)
        for name, value in found.items()
        if value is not None
    }
