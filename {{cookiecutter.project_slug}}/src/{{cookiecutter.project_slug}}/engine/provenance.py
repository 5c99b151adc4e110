"""`fit` keeps run.json in the run's folder; see `record.py`."""

import hashlib
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch.nn.parameter import is_lazy

from .contract import DescribesData
from .record import differences, git, process_start, read_record, write_record
from .results import config_hash, read_config

# Of the versions, those that come first.
FIRST = ("python", __name__.partition(".")[0], "torch", "lightning", "numpy", "polars", "torchvision")
LOCK_FILES = ("uv.lock", "pylock.toml")
EXIT_SIGNALS = {128 + number: number.name for number in signal.Signals}  # exit status -> signal, as shells count
MB = 1 << 20


class RunRecord(Callback):
    """Keep run.json: from the moment a new run's folder is claimed; in a resumed run, once it trains.

    Args:
        folder: The run's folder.
        command: The command line as typed, without the program.
        seed: The random seed.
        is_new: Whether the folder is new; otherwise the run is resumed.
    """

    def __init__(self, folder: Path, command: Sequence[str], seed: int | None, is_new: bool) -> None:
        self._folder = folder
        self._start = time.monotonic()
        self._before = {} if is_new else read_record(folder)
        self._facts: dict[str, Any] = {
            "seed": seed,
            "config_sha256": None,
            "git": _git(),
            "lock": _lock_files(),
            "parameters": None,
            "data": None,
            "hardware": _hardware(),
            "sessions": [],
            "versions": _versions(),  # the longest part comes last
        }
        self._session: dict[str, Any] = {
            "command": list(command),
            "status": "running",
            "started": _now(),
            "ended": None,
            "seconds": None,
            "from_step": 0,
            "to_step": None,
            "peak_memory_mb": None,
            "host": platform.node(),
            "pid": os.getpid(),
            "process_started": process_start(os.getpid()),
        }
        self._writes = is_new
        self._write()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        parameters = [parameter for parameter in pl_module.parameters() if not is_lazy(parameter)]
        trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
        self._facts |= {
            "config_sha256": config_hash(read_config(self._folder)),
            "parameters": {"all": sum(map(torch.numel, parameters)), "trainable": trainable},
            "data": _data(trainer) if trainer.is_global_zero else None,
            "hardware": self._facts["hardware"] | _devices(trainer),
        }
        self._session["from_step"] = trainer.global_step
        if self._before:
            facts = {name: value for name, value in self._facts.items() if name != "sessions"}
            self._session["changed"] = differences({name: self._before.get(name) for name in facts}, facts)
        self._writes = True
        self._write()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end(trainer, {"status": "finished"})

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._end(trainer, how_it_ended(exception))

    def _end(self, trainer: Trainer, how: dict[str, str]) -> None:
        self._session |= how | {
            "ended": _now(),
            "seconds": round(time.monotonic() - self._start, 1),
            "to_step": trainer.global_step,
            **_peak_memory(),
        }
        self._write(epochs=trainer.current_epoch)

    def _write(self, epochs: int | None = None) -> None:
        if not self._writes or rank_zero_only.rank != 0:  # type: ignore[attr-defined]
            return
        # An earlier session that still says "running" was killed before it could say anything else.
        earlier = [
            session | {"status": "killed"} if session["status"] == "running" else session
            for session in self._before.get("sessions", [])
        ]
        sessions = [*earlier, self._session]
        head = {
            "status": self._session["status"],
            "started": sessions[0]["started"],
            "ended": self._session["ended"],
            "seconds": round(sum(session["seconds"] or 0 for session in sessions), 1),
            "epochs": epochs,
            "steps": self._session["to_step"],
        }
        write_record(self._folder, head | self._facts | {"sessions": sessions})


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def how_it_ended(error: BaseException) -> dict[str, str]:
    """Tell a run that a signal has stopped from one that failed."""
    name = EXIT_SIGNALS.get(error.code) if isinstance(error, SystemExit) and isinstance(error.code, int) else None
    if isinstance(error, KeyboardInterrupt):
        name = "SIGINT"
    elif isinstance(error, SIGTERMException):
        name = name or "SIGTERM"
    if name:
        return {"status": "stopped", "signal": name}
    return {"status": "failed", "error": ": ".join([type(error).__name__, *str(error).splitlines()[:1]])}


def _git() -> dict[str, Any] | None:
    """Return the commit of the running code, and whether anything was not committed; None without a repository."""
    here = ("-C", str(Path(__file__).parent))
    # The second revision fails where the code lies in a repository that does not hold it.
    commit = git(*here, "rev-parse", "HEAD", "HEAD:./")
    return {"commit": commit.split()[0], "dirty": git(*here, "status", "--porcelain") != ""} if commit else None


def _lock_files() -> dict[str, str] | None:
    """Return the SHA-256 of the lock files in the current folder."""
    found = [path for path in map(Path, LOCK_FILES) if path.exists()]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found} or None


def _versions() -> dict[str, str | None]:
    """Return the versions of all installed distributions, from the names of their folders, which is fast."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for folder in map(Path, sys.path):
        for info in folder.glob("*.dist-info"):
            name, _, version = info.stem.partition("-")
            found.setdefault(name.lower().replace("_", "-"), version)
    first = [name.replace("_", "-") for name in FIRST]
    return {name: found.get(name) for name in first} | dict(sorted(found.items()))


def _hardware() -> dict[str, Any]:
    sizes = [os.sysconf(name) for name in ("SC_PAGE_SIZE", "SC_PHYS_PAGES") if name in getattr(os, "sysconf_names", ())]
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_mb": sizes[0] * sizes[1] // MB if len(sizes) == 2 else None,
    }


def _processor() -> str:
    """Name the processor; Python's own answer is the architecture at most."""
    with suppress(OSError, StopIteration):
        if sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True).stdout.strip()
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def _devices(trainer: Trainer) -> dict[str, Any]:
    return {
        "accelerators": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "trained_on": str(trainer.strategy.root_device),
        "processes": trainer.world_size,
    }


def _peak_memory() -> dict[str, int | None]:
    """Return the peak memory of this process, and that on its CUDA device if it used one."""
    try:
        from resource import RUSAGE_SELF, getrusage  # which Windows does not have
    except ImportError:
        peak: dict[str, int | None] = {"peak_memory_mb": None}
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        peak = {"peak_memory_mb": getrusage(RUSAGE_SELF).ru_maxrss * unit // MB}
    if torch.cuda.is_initialized():
        peak["peak_cuda_memory_mb"] = torch.cuda.max_memory_allocated() // MB
    return peak


def _data(trainer: Trainer) -> dict[str, Any]:
    """Describe the data as the datamodule does, or else by the rows of its training and validation datasets."""
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    if isinstance(datamodule, DescribesData):
        return datamodule.describe_data()
    return {"rows": {"train": _rows(trainer.train_dataloader), "val": _rows(trainer.val_dataloaders)}}


def _rows(loaders: Any) -> Any:
    """Count the rows of a loader's dataset, or of each of several; None where they cannot be counted."""
    if isinstance(loaders, (list, tuple)):
        return [_rows(loader) for loader in loaders]
    if isinstance(loaders, dict):
        return {name: _rows(loader) for name, loader in loaders.items()}
    with suppress(AttributeError, TypeError, NotImplementedError):
        return len(loaders.dataset)
    return None
