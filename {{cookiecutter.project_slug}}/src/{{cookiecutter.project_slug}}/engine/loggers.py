"""Send pictures, texts and the resolved config to the loggers; the Trainer sends only numbers.

To support another logger, add a `case` to each function; without one it still gets the numbers.
"""

from pathlib import Path

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from matplotlib.figure import Figure
from matplotlib.image import imread


def save_picture(trainer: Trainer, figure: Figure, path: Path) -> None:
    """Save a figure and send it to every logger."""
    figure.savefig(path, dpi=120)
    for logger in trainer.loggers:
        log_picture(logger, path, trainer.global_step)


def log_picture(logger: Logger, path: Path, step: int) -> None:
    """Send a PNG file under its name."""
    match logger:
        case TensorBoardLogger():
            logger.experiment.add_image(path.stem, imread(path)[:, :, :3], step, dataformats="HWC")
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
    """Send the resolved config, which holds more than the hyperparameters that the Trainer sends."""
    match logger:
        case TensorBoardLogger():
            logger.experiment.add_text("config", f"```\n{path.read_text(encoding='utf-8')}\n```")
        case WandbLogger():
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
            logger.experiment.config.update({"config": config}, allow_val_change=True)
        case MLFlowLogger():
            logger.experiment.log_artifact(str(logger.run_id), str(path))
