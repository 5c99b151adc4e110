"""Send the loggers what the Trainer does not: pictures, texts, the resolved config, and where a run resumes and ends.

To support another logger, add a `case` to each function; without one it still gets the numbers.
"""

from contextlib import suppress
from pathlib import Path

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from matplotlib.figure import Figure
from matplotlib.image import imread

from .results import LOADER
from .trackers import SUMMARY, Grouped, plain_settings


def save_figure(figure: Figure, path: Path) -> None:
    """Save a figure as a PNG file."""
    figure.savefig(path, dpi=120, pil_kwargs={"compress_level": 1})  # a third larger, in a fraction of the time


def save_picture(trainer: Trainer, figure: Figure, path: Path) -> None:
    """Save a figure and send it to every logger."""
    save_figure(figure, path)
    for logger in trainer.loggers:
        log_picture(logger, path, trainer.global_step)


def log_picture(logger: Logger, path: Path, step: int) -> None:
    """Send a PNG file under its name."""
    match logger:
        case TensorBoardLogger():
            # Groups are sorted by name: the pictures come after the curves of most metrics
            logger.experiment.add_image(f"visual/{path.stem}", imread(path)[:, :, :3], step, dataformats="HWC")
        case WandbLogger():
            logger.log_image(path.stem, [str(path)])
        case MLFlowLogger():
            logger.experiment.log_artifact(str(logger.run_id), str(path), "pictures")


def log_text(logger: Logger, name: str, text: str, step: int) -> None:
    """Send a text."""
    match logger:
        case TensorBoardLogger():
            logger.experiment.add_text(name, f"```\n{text}\n```", step)
        case WandbLogger():
            logger.log_text(name, columns=["step", "text"], data=[[str(step), text]])
        case MLFlowLogger():
            logger.experiment.log_text(str(logger.run_id), text, f"{name}/{step:08}.txt")


def log_config(logger: Logger, path: Path) -> None:
    """Send the resolved config: as a text, and as plain settings where they have a table."""
    text = path.read_text(encoding="utf-8")
    config = yaml.load(text, Loader=LOADER)
    match logger:
        case TensorBoardLogger():
            logger.experiment.add_text("config", f"```\n{text}\n```")
        case WandbLogger():
            logger.experiment.config.update({"config": config}, allow_val_change=True)
        case MLFlowLogger():
            logger.experiment.log_artifact(str(logger.run_id), str(path))
    if isinstance(logger, Grouped):
        monitor = (config.get("best_checkpoint") or {}).get("monitor")
        logger.log_settings(plain_settings(config), best_of(monitor))


def log_best(logger: Logger, monitor: str, value: float, step: int) -> None:
    """Send the best value of the monitored metric, by which trackers compare runs."""
    name = best_of(monitor)
    match logger:
        case TensorBoardLogger():
            logger.experiment.add_scalar(f"{SUMMARY}/{name}", value, step)
        case WandbLogger():
            logger.experiment.summary[name] = value
        case MLFlowLogger():
            logger.experiment.log_metric(str(logger.run_id), name, value, step=step)


def best_of(monitor: str | None) -> str:
    """Name the best value of a metric."""
    return f"best_{monitor or 'value'}".replace("/", "_")


def flush(logger: Logger) -> None:
    """Write everything that was logged, where a logger can."""
    match logger:
        case TensorBoardLogger():
            logger.experiment.flush()
        case _:
            logger.save()


def run_id(logger: Logger) -> str | None:
    """Return the id under which a tracker keeps the run; loggers that write into the run's folder need none."""
    match logger:
        case WandbLogger() | MLFlowLogger():
            return logger.version
    return None


def continue_run(logger: Logger, run_id: str) -> None:
    """Continue a tracker's run instead of starting one, unless the config names one or it was deleted."""
    match logger:
        case WandbLogger() if logger.version is None:
            logger._id = logger._wandb_init["id"] = run_id
        case MLFlowLogger() if logger._run_id is None and not rank_zero_only.rank:  # type: ignore[attr-defined]
            from mlflow.exceptions import MlflowException

            with suppress(MlflowException):  # unknown, as after a change of the server
                if logger._mlflow_client.get_run(run_id).info.lifecycle_stage == "active":
                    logger._run_id = run_id
                    # MLflow refuses a second value of a hyperparameter, such as another learning rate.
                    for method in ("log_hyperparams", "log_settings"):
                        setattr(logger, method, lambda *args, **kwargs: None)


def resume_from(logger: Logger, step: int) -> None:
    """Drop points at and after a step, where a logger can, and mark the run as running again."""
    match logger:
        case TensorBoardLogger():
            logger.experiment.close()  # the next event opens a file, which begins by dropping points of earlier files
            logger.experiment.purge_step = step
        case MLFlowLogger():
            logger.experiment.update_run(str(logger.run_id), "RUNNING")


def end_run(logger: Logger, status: str) -> None:
    """Tell a tracker how the run ended, by the status in run.json."""
    match logger:
        case WandbLogger() if logger._experiment is not None:
            logger.experiment.finish({"finished": 0, "failed": 1}.get(status, 255))  # 255 is wandb's own after Ctrl-C
        case MLFlowLogger() if logger._initialized:
            ended = {"finished": "FINISHED", "failed": "FAILED"}.get(status, "KILLED")
            logger.experiment.set_terminated(str(logger.run_id), ended)
