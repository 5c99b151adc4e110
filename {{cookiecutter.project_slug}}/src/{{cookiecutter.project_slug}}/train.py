"""The command line.

    python -m {{ cookiecutter.project_slug }}.train fit
    python -m {{ cookiecutter.project_slug }}.train fit --trainer.max_epochs 3
    python -m {{ cookiecutter.project_slug }}.train validate | test | predict

It is Lightning's own CLI, with what its users trip over mended: see `CLI`.
"""

import io
import logging
import math
import pickle
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml
from jsonargparse.typing import OpenUnitInterval, PositiveInt
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from rich.console import Console
from rich.table import Table

from .datamodule import LitDataModule
from .engine import runs
from .engine.curves import LearningCurves
from .engine.errors import InputError
from .engine.loggers import log_config
from .engine.metrics import MetricsCSV, read_curves, run_folder
from .engine.predictions import PredictionWriter
from .engine.resume import ConfiguredOptimizer
from .engine.switches import switched_on

DEFAULT_CONFIG = Path("configs/train.yaml")
UNREADABLE = (EOFError, OSError, RuntimeError, pickle.UnpicklingError)  # what torch.load makes of other files


class Parser(LightningArgumentParser):
    """Lightning's parser, saying in one line what is wrong with an option."""

    def error(self, message: str, *args: Any, **kwargs: Any) -> NoReturn:
        noise = ("Does not validate", "Subtypes:", "Errors:", "- Expected a <class 'NoneType'>", "Given value")
        lines = [line.strip() for line in str(message).splitlines()]
        clear = " ".join(line.removeprefix("- ") for line in lines if line and not line.startswith(noise))
        self.exit(2, f"error: {clear} (--help lists the options)\n")


class ConfigForLoggers(SaveConfigCallback):
    """Lightning's config.yaml, sent to every logger too."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for logger in trainer.loggers:
            log_config(logger, Path(str(run_folder(trainer)), self.config_filename))


class CLI(LightningCLI):
    """LightningCLI with a folder for every run, and with these differences to the stock one.

    - A shortened or misspelt option is an error; stock takes `--trainer.max_epoch` for `max_epochs`.
    - The command line wins over the hyper-parameters in `--ckpt_path`; stock drops `--model.lr 0.5`.
      What the command line leaves open, of the data too, is as it was when the checkpoint was written.
    - `--ckpt_path last` and `best` mean those of the newest run, in every subcommand.
    - `validate`, `test` and `predict` take the best checkpoint; stock takes an untrained model.
    - A checkpoint runs no pickled code, and has no class imported but this project's; stock leaves that to PyTorch,
      trusts addresses on the web, and imports and calls whatever stands there as the class.
    """

    def __init__(self, args: ArgsType = None) -> None:
        super().__init__(
            args=args,
            parser_class=Parser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,  # the optimiser belongs to the math, in the module
            trainer_defaults={"callbacks": [ConfiguredOptimizer(), LearningCurves(), PredictionWriter()]},
            save_config_callback=ConfigForLoggers,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={
                "allow_abbrev": False,
                **{name: {"default_config_files": [str(DEFAULT_CONFIG)]} for name in self.subcommands()},
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--name", type=str | None, default=None, help="Name of the run's folder; by default, the time it starts."
        )
        parser.add_argument(
            "--early_stopping",
            type=PositiveInt | None,
            default=None,
            help="Stop after so many validations without a lower val_loss.",
        )
        parser.add_argument(
            "--ema",
            type=OpenUnitInterval | None,
            default=None,
            help="Decay of a moving average of the weights, which is then what is judged and kept.",
        )
        parser.add_argument(
            "--compile", type=str | None, default=None, help="Backend with which torch compiles the model: inductor."
        )
        parser.add_argument("--throughput", type=bool, default=False, help="Measure batches and samples per second.")
        for shape in LitDataModule.shapes:
            parser.link_arguments(f"data.{shape}", f"model.init_args.{shape}", apply_on="instantiate")

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        parser.set_defaults(weights_only=True)  # nothing pickled but plain values
        if subcommand != "fit":
            parser.set_defaults(ckpt_path="best")
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        argv: list[str] = sys.argv[1:] if args is None else list(args)
        self.config = parser.parse_args(argv)
        subcommand, given = self.config.subcommand, self.config[self.config.subcommand]
        self.root = Path(given.trainer.default_root_dir or "runs")
        self.checkpoint: Path | None = None
        if given.ckpt_path is None and subcommand == "predict":
            raise InputError("predictions need a trained model: leave --ckpt_path out, or name a checkpoint")
        if given.ckpt_path is not None:
            self.checkpoint = runs.find_checkpoint(self.root, given.ckpt_path)
            # As if it were the first --config: it comes after the defaults and before all that was typed.
            position = argv.index(subcommand) + 1
            # In their own order: that of the columns is the order of the model's inputs.
            settings = yaml.safe_dump(_saved_settings(self.checkpoint), sort_keys=False, width=math.inf)
            saved = ["--config", settings]
            self.config = parser.parse_args([*argv[:position], *saved, *argv[position:]])
            self.config[subcommand].ckpt_path = str(self.checkpoint)

    def _parse_ckpt_path(self) -> None:
        """Leave out the stock way, in which the checkpoint wins: `parse_arguments` has done it."""

    def before_instantiate_classes(self) -> None:
        given = self.config[self.subcommand]
        # Training that goes on from the last checkpoint, and every evaluation, stay with their run.
        goes_on = self.checkpoint and not given.name and (self.subcommand != "fit" or self.checkpoint.stem == "last")
        run = runs.run_of(self.root, self.checkpoint) if self.checkpoint and goes_on else None
        self.run_name = run or runs.new_name(self.root, given.name)
        self.root.mkdir(parents=True, exist_ok=True)
        if self.subcommand != "fit":
            self.save_config_callback = None  # config.yaml stays as it was trained
            # The callbacks of training are switched off on purpose.
            warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`, callbacks used to create")
        for logger in _as_list(given.trainer.logger):
            for argument in {"name", "run_name"} & set(logger.init_args.keys()):
                logger.init_args[argument] = self.run_name

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        chosen = _as_list(self._get(self.config_init, "trainer").logger)
        training = self.subcommand == "fit"
        filename = "metrics.csv" if training else f"metrics-{self.subcommand}.csv"
        always = MetricsCSV(self.root, self.run_name, filename, append=training)
        if training:
            switches = self.config[self.subcommand]
            self.trainer_defaults["callbacks"] += switched_on(
                switches.early_stopping, switches.ema, switches.throughput
            )
        if backend := self.config[self.subcommand].compile:
            self.model.compile(backend=backend)
        return super().instantiate_trainer(logger=[always, *chosen], **kwargs)

    def _run_subcommand(self, subcommand: str) -> None:
        folder = self.root / self.run_name
        new = not folder.exists()
        try:
            super()._run_subcommand(subcommand)
        except InputError:
            if new and self.trainer.is_global_zero and not (folder / runs.CHECKPOINTS).exists():
                shutil.rmtree(folder, ignore_errors=True)  # a run that never began
            raise

    def after_fit(self) -> None:
        curves = read_curves(self.root / self.run_name)
        judged = curves.get("val_loss", {})
        best = min(judged, key=lambda step: judged[step], default=None)  # where best.ckpt was written
        title = f"epochs: {self.trainer.current_epoch}, steps: {self.trainer.global_step}"
        table = Table("metric", "first", "last", "best", title=title)
        for metric, curve in sorted(curves.items()):
            values = list(curve.values())
            numbers = [values[0], values[-1], None if best is None else curve.get(best)]
            table.add_row(metric, *("" if number is None else f"{number:.4g}" for number in numbers))
        self._last_words(table)

    def after_validate(self) -> None:
        self._last_words()

    after_test = after_predict = after_validate

    def _last_words(self, *results: Table) -> None:
        folder = run_folder(self.trainer)
        if folder is None or not self.trainer.is_global_zero:
            return
        for logger in self.trainer.loggers:
            if finish := getattr(getattr(logger, "experiment", None), "finish", None):
                finish()  # Weights & Biases has last words of its own; let it say them before ours
        console = Console()
        for result in results:
            console.print(result)
        console.print(str(folder), soft_wrap=True, highlight=False)


def _as_list(logger: Any) -> list[Any]:
    """Read the many forms of `trainer.logger`: nothing, true or false, one, or several."""
    if logger is None or isinstance(logger, bool):
        return []
    return list(logger) if isinstance(logger, (list, tuple)) else [logger]


def _saved_settings(checkpoint: Path) -> dict[str, Any]:
    """Read from a checkpoint how its model and data were made, in the form of a config."""
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except UNREADABLE:
        raise InputError(f"--ckpt_path {checkpoint}: this is no checkpoint, or one that is not safe to load") from None
    settings: dict[str, Any] = {}
    parts = (
        ("model", "hyper_parameters", LightningModule),
        ("data", "datamodule_hyper_parameters", LightningDataModule),
    )
    for part, key, base in parts:
        arguments = {name: value for name, value in content.get(key, {}).items() if name != "_instantiator"}
        if class_path := arguments.pop("_class_path", None):
            if not runs.is_known_class(class_path, base):
                raise InputError(f"--ckpt_path {checkpoint}: {class_path} is not this project's: name it with --{part}")
            settings[part] = {"class_path": class_path, "init_args": arguments}
    return settings


def _users_mistake(error: BaseException | None) -> BaseException | None:
    """Find what the user has to mend below what jsonargparse wraps around it."""
    while error:
        if isinstance(error, (InputError, MisconfigurationException)):
            return error
        if isinstance(error, ModuleNotFoundError) and error.name is None:
            return error  # not from an import: Lightning says so of an accelerator whose package is missing
        error = error.__cause__
    return None


def main(args: list[str] | None = None) -> None:
    """Run the command line; say in one line what the user has to mend."""
    argv = sys.argv[1:] if args is None else args
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # the progress bar has signs that not every console knows
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda record: "Tip:" not in record.msg)
    # Lightning counts processor cores; rows that are in memory load slower through worker processes.
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    # LearningCurves sees to it that a short epoch is logged too.
    warnings.filterwarnings("ignore", "The number of training batches .* is smaller than the logging interval")
    # Lightning 2.6 walks its results in a way that PyTorch 2.13 is leaving.
    warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated")
    # A run that is resumed goes on in its own folder, on purpose.
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    # `fit --ckpt_path best` begins a new run, with a best checkpoint of its own.
    warnings.filterwarnings("ignore", "The dirpath has changed from")
    try:
        if not DEFAULT_CONFIG.exists() and not any(arg.startswith(("-c", "--config", "-h", "--help")) for arg in argv):
            raise InputError(f"no {DEFAULT_CONFIG} in this folder: go to the project's, or name one with --config")
        CLI(argv)
    except Exception as error:
        if mistake := _users_mistake(error):
            # A worker process of a DataLoader puts its traceback before what it has to say.
            sys.exit(f"error: {str(mistake).rpartition('InputError: ')[2].strip()}")
        raise


if __name__ == "__main__":
    main()
