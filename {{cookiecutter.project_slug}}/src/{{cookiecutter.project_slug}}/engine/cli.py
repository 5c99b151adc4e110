"""LightningCLI with its pitfalls fixed."""

import errno
import inspect
import math
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse._typehints
import yaml
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, ModelSummary, ProgressBar
from lightning.pytorch.cli import (
    ArgsType,
    LightningArgumentParser,
    LightningCLI,
    SaveConfigCallback,
    _InstantiatorFn,
)
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only

from . import checkpoints, console, hardware, known_options, options, runs, training_loop, workers
from .columns_csv import ColumnsCSV
from .curves import LearningCurves
from .durable import DurableCheckpointIO
from .epoch_loss import EpochLoss
from .errors import InputError, make_folder
from .health import Health
from .known_options import DEFAULT_CONFIG
from .last_checkpoint import LastCheckpoint
from .launcher import cluster_plugins, find_launch
from .loggers import log_config
from .metrics import MetricsCSV
from .optimizer import FusedOptimizer, KeepConfiguredOptimizer
from .predictions import PredictionWriter
from .processes import require_same_checkpoint
from .progress import progress_bar
from .provenance import RunRecord
from .record import read_record, remove_if_unused
from .replay import Replay
from .report_page import write_report
from .resumed_logs import ResumedLogs
from .shares import EvenShares
from .stop import StopOnSignal
from .weights import require_matching_weights

NAMES_CHECKPOINT = re.compile(r"^[^#\n]*\bckpt_path\b[\"']?: *(?!null)\S", re.MULTILINE)  # in YAML or JSON
AUTO = "auto"  # the value of --ckpt_path that resumes the run, or starts it
LIMITS = ("max_epochs", "max_steps", "max_time")
CHOSEN = "CHECKPOINT_OF_FIRST_PROCESS"  # tells the other processes what `last` was, before there was a newer run

# jsonargparse writes defaults as YAML, which knows no enums; Lightning's Timer, for one, has one as a default.
yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_data(member.value))

# jsonargparse prints datamodules that lack a fact; Lightning's text of one makes its dataloaders, before `setup`.
LightningDataModule.__str__ = object.__str__  # type: ignore[method-assign]


def _drop_init_args(parser: Any, previous: Any, value: Any) -> None:
    """Let a class that replaces another start from its own defaults.

    Stock jsonargparse keeps the settings of the other one where argument names agree: a second model would train with
    the `lr` of the first.
    """
    if previous and "init_args" in previous and previous["class_path"] != value["class_path"]:
        for name in dict(previous["init_args"].items()):
            previous["init_args"].pop(name, None)


jsonargparse._typehints.discard_init_args_on_class_path_change = _drop_init_args


class Parser(LightningArgumentParser):
    """Lightning's parser, which says in one line what is wrong with an option."""

    # The command line and the parsers of subcommands, for all parsers of these and of classes
    argv: Sequence[str] = ()
    parsers: Mapping[str, LightningArgumentParser] = {}

    def error(self, message: str, *args: Any, **kwargs: Any) -> NoReturn:
        parsers, Parser.parsers = self.parsers, {}  # an error in a config would come again
        self.exit(2, f"error: {options.as_parser_error(str(message), self.argv, parsers)}\n")


class RunConfig(SaveConfigCallback):
    """Save config.yaml and send it to every logger; `ckpt_path` is cleared, so that the config trains from scratch.

    A resumed run replaces its config.yaml only once training starts.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Before anything else that processes tell each other
        require_same_checkpoint(trainer, self.config.ckpt_path)
        resumes = self.config.ckpt_path is not None
        self.config = self.config.clone()
        self.config.ckpt_path = None
        if not resumes:
            super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().setup(trainer, pl_module, "fit")  # which saves once

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if folder := runs.folder_of(trainer):
            for logger in trainer.loggers:
                log_config(logger, folder / self.config_filename)


class _Instantiator(_InstantiatorFn):
    """Make the model or the datamodule, and keep the config that made it."""

    cli: Any  # the CLI below

    def __call__(
        self, class_type: type[Any], *args: Any, applied_instantiation_links: dict[str, Any], **kwargs: Any
    ) -> Any:
        # Lightning records every linked value as a hyperparameter, also those that this class does not take.
        links = {
            key: value.tolist() if hasattr(value, "tolist") else value  # NumPy's numbers are no plain values
            for key, value in applied_instantiation_links.items()
            if key.split(".")[-1] in kwargs
        }
        parameters = inspect.signature(class_type).parameters
        required = {name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty}
        for fact in self.cli.facts if self.key == "model" else ():
            if fact in required and kwargs.get(fact) is None:
                raise InputError(f"--model.{fact}: {class_type.__name__} needs it, and the datamodule has none; set it")
        with options.largest_named(self.key, kwargs, links):
            made: Any = super().__call__(class_type, *args, applied_instantiation_links=links, **kwargs)
        settings = self.cli.config_dump[self.key]
        facts = {key.split(".")[-1]: value for key, value in links.items()}
        self.cli.made[self.key] = settings | {"init_args": settings.get("init_args", {}) | facts}
        # Facts may need the state; without facts, Lightning restores it after `setup`.
        has_facts = any(hasattr(class_type, fact) or fact in vars(made) for fact in self.cli.facts)
        if self.key == "data" and self.cli.checkpoint and has_facts:
            self.cli.checkpoint.restore_state(made)
        if self.key == "model" and self.cli.checkpoint:
            require_matching_weights(made, self.cli.checkpoint.content["state_dict"], self.cli.checkpoint.path)
        return made


class CLI(LightningCLI):
    """LightningCLI with a folder for every run, and with these differences from the stock one.

    - A shortened or misspelled option is an error; stock takes `--trainer.max_epoch` for `max_epochs`.
    - The command line wins over the config in `--ckpt_path`; stock drops `--model.lr 0.5`. What is not given on the
      command line comes from the checkpoint: the model, the data and, for `fit`, the optimizer. A run that is resumed
      also keeps the trainer of its config.yaml.
    - `--ckpt_path last` and `best` mean those of the newest run, in every subcommand.
    - `fit --name big --ckpt_path auto` resumes the run, starts it, or does nothing where it is finished: a command for
      launchers that restart.
    - `validate`, `test` and `predict` use the best checkpoint; stock uses an untrained model.
    - A checkpoint runs no code of its own; see `checkpoints.read`.
    - A config that replaces `trainer.callbacks` keeps the checkpoints, the report and the progress bar.

    Args:
        args: The command line; by default that of the process.
        facts: Attributes of the datamodule that become the model's arguments of the same names, where both have them.
        callbacks: Callbacks of every run, in addition to those in the config.
    """

    def __init__(self, args: ArgsType, facts: Sequence[str], callbacks: Sequence[Callback]) -> None:
        given = sys.argv[1:] if args is None else list(args)
        self.only = given[0] if given and given[0] in super().subcommands() else None
        self.facts = facts
        self.own_callbacks = callbacks
        self.checkpoint: checkpoints.Checkpoint | None = None
        self.resumes = False
        self.is_auto = False  # `--ckpt_path auto`
        self.made: dict[str, Any] = {}  # the config of what was made, for the next checkpoint
        super().__init__(
            args=args,
            parser_class=Parser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=RunConfig,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={
                "allow_abbrev": False,
                **{name: {"default_config_files": [str(DEFAULT_CONFIG)]} for name in self.subcommands()},
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--name", type=str | None, default=None, help="Name of the run's folder (default: the current time)."
        )
        about = "Of float32 on GPUs: highest, or high (TensorFloat32) or medium (bfloat16), which are faster."
        parser.add_argument("--matmul_precision", type=hardware.MatmulPrecision, default="high", help=about)
        parser.add_lightning_class_args(ModelCheckpoint, "best_checkpoint")
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        for fact in self.facts:
            parser.link_arguments(f"data.{fact}", f"model.init_args.{fact}", apply_on="instantiate")

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        parser.set_defaults(weights_only=True)  # plain values and tensors, nothing pickled
        if subcommand != "fit":
            parser.set_defaults(ckpt_path="best")
        return parser

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Leave out those that were not typed: the options of each take a tenth of a second."""
        return {name: skip for name, skip in super().subcommands().items() if self.only in (name, None)}

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        argv: list[str] = sys.argv[1:] if args is None else list(args)
        self.argv = Parser.argv = argv
        Parser.parsers = self._subcommand_parsers
        known_options.keep(self._subcommand_parsers)
        if self.only == "fit" and not _may_resume(argv):
            self.config = parser.parse_args(argv)
            self.root = Path(self.config.fit.trainer.default_root_dir or runs.ROOT)
        else:
            self._parse_with_checkpoint(parser, argv)
        options.require_valid(self.config[self.config.subcommand])

    def _parse_with_checkpoint(self, parser: LightningArgumentParser, argv: list[str]) -> None:
        # First parse only what locates the checkpoint: its config may name a different model and datamodule.
        kept, dropped = _split_options(argv, ("--print_config", "--model", "--data"))
        for option, value in dropped:
            if option in ("--model", "--data") and "." in value:
                with suppress(ImportError):
                    import_module(value.rpartition(".")[0])  # a checkpoint may use classes that are imported
        self.config = parser.parse_args(kept)
        subcommand, given = self.config.subcommand, self.config[self.config.subcommand]
        self.root = Path(given.trainer.default_root_dir or runs.ROOT)
        if given.ckpt_path is None and subcommand == "predict":
            raise InputError("predictions need a trained model: drop --ckpt_path, or name a checkpoint")
        self.is_auto = given.ckpt_path == AUTO
        if self.is_auto and (subcommand != "fit" or not given.name):
            raise InputError("--ckpt_path auto: only for `fit`, together with --name, the run to resume or to start")
        saved: dict[str, Any] = {}
        if given.ckpt_path is not None:
            self.checkpoint = self._find_checkpoint(given.ckpt_path, given.name)
        os.environ.pop(CHOSEN, None)  # of an earlier run in this process
        if self.checkpoint:
            os.environ[CHOSEN] = str(self.checkpoint.path)
            self.resumes = subcommand == "fit" and (
                given.ckpt_path in ("last", AUTO) or self.checkpoint.path.stem == "last"
            )
            saved = self.checkpoint.config
            if subcommand != "fit":  # which alone needs the optimizer
                saved = {section: settings for section, settings in saved.items() if section in checkpoints.BASES}
        run = runs.name_of(self.root, self.checkpoint.path) if self.checkpoint and self.resumes else None
        trainer_config = runs.trainer_config(self.root / run) if run else {}
        if find_launch():  # which decides these, whoever decided them before
            for option in ("num_nodes", "devices"):
                trainer_config.get("trainer", {}).pop(option, None)
        # As if it were the first --config: after the defaults, before everything that was typed. Keys keep their order,
        # since the order of columns is that of the model's inputs.
        try:
            text = yaml.safe_dump(trainer_config | saved, sort_keys=False, width=math.inf)
        except yaml.YAMLError as error:
            raise InputError(f"{given.ckpt_path}: hyperparameters that are no plain values: {error}") from None
        position = argv.index(subcommand) + 1
        config = ["--config", text] if saved or trainer_config else []
        with checkpoints.trusted_imports(saved):
            self.config = parser.parse_args([*argv[:position], *config, *argv[position:]])
        if self.is_auto or self.checkpoint:
            self.config[subcommand].ckpt_path = str(self.checkpoint.path) if self.checkpoint else None
        if self.resumes:
            options.drop_repeated(self.config[subcommand].trainer)
        if self.is_auto and run and _is_finished(self.root / run, trainer_config, self.config[subcommand].trainer):
            rank_zero_info(f"{self.root / run} is finished; a larger --trainer.max_epochs would train it for longer")
            sys.exit(0)

    def _find_checkpoint(self, which: str, name: str | None) -> checkpoints.Checkpoint | None:
        """Read the checkpoint that `--ckpt_path` means; None if `auto` finds none, so that the run starts."""
        if rank_zero_only.rank and find_launch() is None:  # type: ignore[attr-defined]
            which = os.environ.get(CHOSEN, which)  # Lightning has started this process
        if which == AUTO:
            return checkpoints.find_in(self.root / str(name), "last")
        return checkpoints.find(self.root, which)

    def _parse_ckpt_path(self) -> None:
        """Do nothing: `parse_arguments` has merged the checkpoint's config, below the command line."""

    def _add_instantiators(self) -> None:
        self.parser.add_instantiator(_Instantiator(self, "model"), LightningModule, subclasses=True)
        self.parser.add_instantiator(_Instantiator(self, "data"), LightningDataModule, subclasses=True)

    def before_instantiate_classes(self) -> None:
        given = self.config[self.subcommand]
        path = self.checkpoint.path if self.checkpoint else None
        if self.checkpoint and self.subcommand == "fit":
            self.checkpoint.require_resumable(given.trainer.max_epochs)
        # Evaluation, and training that resumes the last checkpoint, stay in the run's folder.
        continues_run = path and (self.is_auto or not given.name) and (self.subcommand != "fit" or self.resumes)
        run = runs.name_of(self.root, path) if path and continues_run else None
        make_folder(self.root, "--trainer.default_root_dir")
        self.run_name = run or runs.claim_name(self.root, given.name, again=self.is_auto)
        self.is_new = run is None
        if self.subcommand != "fit":
            self.save_config_callback = None  # config.yaml stays that of the training
        elif not given.trainer.fast_dev_run:  # which leaves no folder
            folder, seed = self.root / self.run_name, given.seed_everything
            self.own_callbacks = [*self.own_callbacks, RunRecord(folder, self.argv, seed, self.is_new)]
        for logger in _as_list(given.trainer.logger):
            for argument in {"name", "run_name"} & set((logger.get("init_args") or {}).keys()):
                logger.init_args[argument] = self.run_name
            # Loggers that write beside the run's files follow it into another folder of runs.
            if self.root != runs.ROOT and (logger.get("init_args") or {}).get("save_dir") == str(runs.ROOT):
                logger.init_args.save_dir = str(self.root)

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        settings = self._get(self.config_init, "trainer")
        training = self.subcommand == "fit"
        filename = "metrics.csv" if training else f"metrics-{self.subcommand}.csv"
        metrics = MetricsCSV(self.root, self.run_name, filename, append=training)
        loggers = _as_list(settings.logger)
        chosen = _as_list(settings.callbacks)
        if training:
            self.logs = ResumedLogs(self.root / self.run_name, metrics, loggers)
            chosen.insert(0, self.logs)
        replay = Replay()
        always: list[Callback] = [
            replay,
            EpochLoss(),
            Health(replay),
            EvenShares(),
            StopOnSignal(self._get(self.config_init, "last_checkpoint")),
            FusedOptimizer(),
            KeepConfiguredOptimizer(),
            LearningCurves(),
            *self.own_callbacks,
            PredictionWriter(),
            ColumnsCSV(),
            checkpoints.SaveConfig(self.made),
        ]
        # Lightning rejects a second one of these, and one that is switched off.
        if settings.enable_progress_bar is not False and not any(isinstance(c, ProgressBar) for c in chosen):
            always.append(progress_bar())
        if settings.enable_model_summary is not False and not any(isinstance(c, ModelSummary) for c in chosen):
            always.append(console.LayerTable())
        for section in ("optimizer", "lr_scheduler"):
            if optimizer := self.config_dump.get(section):
                self.made[section] = optimizer
                if training:
                    rank_zero_info(f"{section}: {optimizer['class_path']}, instead of the model's configure_optimizers")
        plugins = _as_list(settings.plugins)
        if launch := find_launch():
            kwargs |= launch.settings(settings.num_nodes, settings.devices, settings.strategy)
            always += launch.callbacks
        trainer = super().instantiate_trainer(
            logger=[metrics, *loggers],
            callbacks=[*chosen, *always],
            plugins=[DurableCheckpointIO(), *cluster_plugins(plugins), *plugins],
            **kwargs,
        )
        training_loop.install(trainer)
        hardware.set_matmul_precision(trainer, self._get(self.config_init, "matmul_precision"))
        # First, since others read config.yaml when training starts.
        trainer.callbacks.sort(key=lambda each: not isinstance(each, RunConfig))  # type: ignore[attr-defined]
        cores = os.cpu_count() or 1
        most = max(8, cores)  # a few more processes than cores are slow, but useful to try things out
        if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > most:
            raise InputError(
                f"--trainer.devices {trainer.num_devices}: this machine has {cores} cores, use at most {most}"
            )
        return trainer

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        if config["enable_checkpointing"] is False:  # which Lightning rejects beside a ModelCheckpoint
            callbacks = [callback for callback in callbacks if not isinstance(callback, Checkpoint)]
        return super()._instantiate_trainer(config, callbacks)

    def instantiate_classes(self) -> None:
        with self._no_folder_for_nothing():
            super().instantiate_classes()

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            with self._no_folder_for_nothing(), self.logs.ending() if subcommand == "fit" else nullcontext():
                super()._run_subcommand(subcommand)
        except BaseException:
            self._write_report()  # of what there is, also after Ctrl-C
            raise
        finally:
            workers.end_all()
        with suppress(OSError):
            (self.root / self.run_name).rmdir()  # if nothing was written, as under `fast_dev_run`

    @contextmanager
    def _no_folder_for_nothing(self) -> Iterator[None]:
        """Remove a new run's folder if an error of the user stops the run before its first checkpoint."""
        folder = self.root / self.run_name
        try:
            yield
        except Exception as error:
            first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
            if self.is_new and first and not (folder / runs.CHECKPOINTS).exists():
                if as_input_error(error):
                    shutil.rmtree(folder, ignore_errors=True)
                remove_if_unused(folder)
            raise

    def after_fit(self) -> None:
        best = self.config[self.subcommand].best_checkpoint
        title = f"epochs: {self.trainer.current_epoch}, steps: {self.trainer.global_step}"
        folder = self.root / self.run_name
        self._print_summary(
            console.result_table(folder, title, best.monitor, best.mode),
            console.advice(folder, best.monitor, best.mode),
        )

    def after_validate(self) -> None:
        self._print_summary()

    after_test = after_predict = after_validate

    def _print_summary(self, *parts: Any) -> None:
        folder = runs.folder_of(self.trainer)
        if folder is None or not self.trainer.is_global_zero:
            return
        for logger in self.trainer.loggers:
            if finish := getattr(getattr(logger, "experiment", None), "finish", None):
                finish()  # let Weights & Biases print its summary first
        console.print_summary(folder, [part for part in parts if part is not None], self._write_report())

    def _write_report(self) -> Path | None:
        """Write report.html, and return its path; None if there is no run to report."""
        folder = runs.folder_of(self.trainer)
        if folder is None or not self.trainer.is_global_zero or not folder.exists():
            return None
        try:
            return write_report(folder)
        except (OSError, ValueError) as error:  # such as files that were changed by hand
            print(f"report.html was not written: {error}", file=sys.stderr)
            return None


def _may_resume(argv: Sequence[str]) -> bool:
    """Tell whether the command line, or a config that it reads, may name a checkpoint."""
    _, given = _split_options(argv, ("--ckpt_path", "--config", "-c"))
    if any(option == "--ckpt_path" for option, _ in given):
        return True
    configs = [str(DEFAULT_CONFIG), *(value for _, value in given)]  # paths, or the content itself
    texts = (Path(config).read_text("utf-8", "replace") if os.path.isfile(config) else config for config in configs)
    return any(map(NAMES_CHECKPOINT.search, texts))


def _is_finished(folder: Path, before: Mapping[str, Any], now: Any) -> bool:
    """Tell whether a run has ended as its config.yaml says, and is not asked to train for longer."""
    limits = before.get("trainer", {})
    return read_record(folder).get("status") == "finished" and all(limits.get(name) == now[name] for name in LIMITS)


def _split_options(argv: Sequence[str], prefixes: tuple[str, ...]) -> tuple[list[str], list[tuple[str, str]]]:
    """Split a command line into what to keep, and the options with these prefixes with their values."""
    kept: list[str] = []
    dropped: list[tuple[str, str]] = []
    value_follows = False
    for arg in argv:
        if arg.startswith(prefixes):
            option, equals, value = arg.partition("=")
            dropped.append((option, value))
            value_follows = not equals
        elif value_follows and not arg.startswith("--"):
            dropped[-1] = (dropped[-1][0], arg)
            value_follows = False
        else:
            kept.append(arg)
            value_follows = False
    return kept, dropped


def _as_list(value: Any) -> list[Any]:
    """Read the many forms of `trainer.logger` and `trainer.callbacks`: nothing, a boolean, one, or several."""
    if value is None or isinstance(value, bool):
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def as_input_error(error: BaseException | None) -> str | None:
    """Return the one line that tells users what to fix, or None if the error is not theirs.

    jsonargparse and DataLoader workers wrap the original error, so follow the chain of causes.
    """
    while error:
        if option_error := options.as_option_error(error):
            return option_error
        if isinstance(error, (InputError, MisconfigurationException)):
            # A worker process puts its traceback in front of the message.
            return str(error).rpartition("InputError: ")[2].strip()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"{error.filename or 'the folder of the runs'}: {error.strerror}; free some space, then resume"
        if isinstance(error, ModuleNotFoundError) and error.name is None:
            return str(error)  # not from an import: Lightning says that an accelerator's package is missing
        if isinstance(error, RuntimeError) and str(error).startswith("Error(s) in loading state_dict"):
            first = str(error).splitlines()[1].strip()
            return f"the checkpoint does not fit this model: {first} (drop the --model options that change its layers)"
        error = error.__cause__
    return None


class ParsedCLI(CLI):
    """The command line of `fit`, parsed and no more."""

    def before_instantiate_classes(self) -> None:
        self._dump_config()

    def instantiate_classes(self) -> None:
        pass

    def _run_subcommand(self, subcommand: str) -> None:
        pass

    def _set_seed(self) -> None:
        pass


class _DataCLI(CLI):
    """The command line of `fit`, which makes the datamodule and stops there."""

    def before_instantiate_classes(self) -> None:
        pass

    def instantiate_classes(self) -> None:
        self._dump_config()
        settings = self.config_dump["data"]
        self.datamodule = checkpoints.Checkpoint(Path(), {"data": settings}, {}).make("data")

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def run_on_data(args: list[str] | None, use: Callable[[Any], None]) -> None:
    """Make the datamodule that `fit` would train on, and use it.

    Args:
        args: Options of `fit`; by default those of the process.
        use: What to do with the datamodule.
    """
    argv = sys.argv[1:] if args is None else args
    with user_errors_in_one_line(argv):
        use(_DataCLI(["fit", *argv], (), ()).datamodule)


def run_cli(args: list[str] | None, facts: Sequence[str], callbacks: Sequence[Callback]) -> None:
    """Run the command line; see `CLI`."""
    argv = sys.argv[1:] if args is None else args
    with user_errors_in_one_line(argv):
        CLI(argv, facts, callbacks)


@contextmanager
def user_errors_in_one_line(argv: Sequence[str]) -> Iterator[None]:
    """Report a user's error in one line and exit with a non-zero status."""
    console.set_up()
    try:
        if not DEFAULT_CONFIG.exists() and not any(arg.startswith(("-c", "--config", "-h", "--help")) for arg in argv):
            raise InputError(f"no {DEFAULT_CONFIG} in this folder: go to the project's folder, or name a --config")
        yield
    except Exception as error:
        if message := as_input_error(error):
            sys.exit(f"error: {message}")
        raise
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning makes it a 1
            sys.exit(128 + signal.SIGINT)
        raise
