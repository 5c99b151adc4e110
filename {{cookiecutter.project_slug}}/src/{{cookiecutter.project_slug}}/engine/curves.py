"""Learning curves, starting with the untrained model, drawn into the run's folder; and the best value for trackers."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from matplotlib.figure import Figure

from .loggers import log_best, save_figure
from .panels import make_panels
from .results import Curve, read_curves
from .runs import folder_of

STYLES: dict[str, dict[str, Any]] = {
    "batches": {"color": "tab:blue", "alpha": 0.3, "linewidth": 0.8},
    "train": {"color": "tab:blue"},
    "val": {"color": "tab:orange"},
}
MARKERS = 60  # points of a curve, up to which each is marked
PANELS = 24  # metrics in the picture: each takes a tenth of a second to draw, and more do not fit on a screen


class LearningCurves(Callback):
    """Draw curves.png when training ends, also after an error.

    Lightning's sanity check before training (`num_sanity_val_steps`) becomes the first point: the untrained model.
    Training logs at least once per epoch.
    """

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step:
            return  # a resumed run has its curves
        before = {name: value.item() for name, value in trainer.callback_metrics.items()}
        for logger in trainer.loggers:
            logger.log_metrics(before, step=trainer.global_step)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        settings: Any = trainer  # it has this attribute without declaring it
        steps = max(1, trainer.num_training_batches // trainer.accumulate_grad_batches)  # of a stream: infinity
        settings.log_every_n_steps = int(min(settings.log_every_n_steps, steps))

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.global_step:  # and not where a resume was refused
            self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        folder = folder_of(trainer)
        if folder is None or not trainer.is_global_zero:
            return
        trainer.loggers[0].save()
        if curves := read_curves(folder):
            save_figure(draw(curves), folder / "curves.png")  # trackers draw their own
        for checkpoint in trainer.checkpoint_callbacks:
            if isinstance(checkpoint, ModelCheckpoint) and (best := checkpoint.best_model_score) is not None:
                for logger in trainer.loggers:
                    log_best(logger, str(checkpoint.monitor), best.item(), trainer.global_step)


def draw(curves: dict[str, Curve]) -> Figure:
    """Draw training and validation into one panel for every metric, of the first `PANELS` metrics."""
    panels = make_panels(curves)
    drawn = panels[:PANELS]
    columns = min(2, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(6.4 * columns, 4 * rows), layout="constrained")
    if len(drawn) < len(panels):
        figure.suptitle(f"{len(drawn)} of {len(panels)} metrics; metrics.csv has all of them")
    for number, panel in enumerate(drawn, start=1):
        axes = figure.add_subplot(rows, columns, number)
        for kind, label, curve in panel.lines():
            marker = "o" if kind != "batches" and len(curve) <= MARKERS else None
            axes.plot(list(curve), list(curve.values()), label=label, marker=marker, **STYLES[kind])
        low, high, is_logarithmic = panel.scale()
        axes.set(ylim=(low, high), yscale="log" if is_logarithmic else "linear")
        axes.set(xlabel="step", ylabel=panel.metric)
        axes.legend()
        axes.grid(alpha=0.3)
    return figure
