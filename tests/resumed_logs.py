"""A run that ends in every way there is, and is resumed; test_loggers.py runs this in a project called `seed`.

It logs to MLflow, TensorBoard and Weights & Biases at once, and prints after every ending what they say, as JSON.
"""

import json
import signal
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml
from faults import TRAINING, BreakLoss, SignalAt, fit, read_metrics
from lightning.pytorch import Callback
from wandb.proto import wandb_internal_pb2

LOGGERS = {
    "seed.engine.trackers.MLFlowLogger": {"experiment_name": "seed", "tracking_uri": "sqlite:///runs/mlflow.db"},
    "seed.engine.trackers.TensorBoardLogger": {"save_dir": "runs", "version": "", "default_hp_metric": False},
    "seed.engine.trackers.WandbLogger": {"project": "seed", "save_dir": "runs", "offline": True},
}


class Crash(Callback):
    """Fail at a call of a hook, counted from 1."""

    def __init__(self, hook: str, call: int) -> None:
        self.calls = 0
        self.call = call
        setattr(self, hook, self._act)

    def _act(self, *args: Any) -> None:
        self.calls += 1
        if self.calls == self.call:
            raise RuntimeError("broken on purpose")


def train(name: str, *args: str, callbacks: Sequence[tuple[Any, ...]] = ()) -> str:
    """Train, and print the exit code, the status in MLflow, and the id and exit code of every session in wandb.

    Returns:
        What the training printed.
    """
    outcome = fit(*args, *TRAINING, "--config", "loggers.yaml", callbacks=callbacks)
    with closing(sqlite3.connect("runs/mlflow.db")) as database:
        mlflow = dict(database.execute("SELECT run_uuid, status FROM runs WHERE name = ?", [name]))
    wandb = sorted(Path("runs/wandb").glob("offline-run-*/run-*.wandb"))
    print(json.dumps([outcome.code, mlflow, [[path.stem, exit_code(path)] for path in wandb]]))
    return outcome.output


def exit_code(path: Path) -> int | None:
    """Return the exit code in a file of Weights & Biases, None if there is none."""
    for content in records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)
        if record.WhichOneof("record_type") == "exit":
            return record.exit.exit_code
    return None


def records(data: bytes, block: int = 1 << 15, header: int = 7) -> Iterator[bytes]:
    """Read a log of LevelDB, whose records may be in several parts."""
    position, record = header, b""
    while position + header <= len(data):
        if block - position % block < header:
            position += block - position % block
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        record += data[position + header : position + header + length]
        position += header + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


if __name__ == "__main__":
    logger = [{"class_path": name, "init_args": settings} for name, settings in LOGGERS.items()]
    Path("loggers.yaml").write_text(yaml.safe_dump({"trainer": {"log_every_n_steps": 1, "logger": logger}}))
    train("base", "--name", "base")
    resume = ["resumed", "--ckpt_path", "last"]
    train("resumed", "--name", "resumed", callbacks=[(Crash, "on_train_batch_end", 6)])
    train(*resume, callbacks=[(SignalAt, "on_train_batch_start", 5, signal.SIGTERM)])
    train(*resume, callbacks=[(Crash, "on_load_checkpoint", 1)])  # a resume that fails before it trains
    train(*resume, callbacks=[(SignalAt, "on_before_optimizer_step", 3)])
    output = train(*resume, "--model.lr", "0.5", callbacks=[(BreakLoss, 7)])  # before a validation
    assert "step 7: the training loss is nan" in output, output
    train(*resume)
    assert read_metrics("resumed") == read_metrics("base")
