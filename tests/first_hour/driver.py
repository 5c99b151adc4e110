"""Run command lines of a rendered project one after another, then look at what they left.

One process for all of them, since importing PyTorch takes longer than a small model's epoch:

    python driver.py '{"steps": [["test", ["test"]]], "run": null}'

Prints one line of JSON: for every step "ok", or what went wrong.
"""

import contextlib
import csv
import importlib
import io
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from seed import load_run
from seed.train import main

QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}


def outcome(do: Callable[..., None], *args: Any) -> str:
    """Say "ok", the error message a user reads, or the place of a traceback."""
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            do(*args)
    except SystemExit as end:
        text = end.code if isinstance(end.code, str) else stderr.getvalue()
        return "ok" if end.code in (0, None) else "\n".join(line for line in text.splitlines() if line.strip())
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        return f"Traceback: {type(error).__name__} in {where}: {' '.join(str(error).split())[:300]}"
    return "ok"


def found(class_path: str) -> type:
    """Import a class."""
    module, _, name = class_path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def same_weights(model: torch.nn.Module, checkpoint: str) -> None:
    """Compare a model with a checkpoint."""
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    own = model.state_dict()
    assert own.keys() == saved.keys()
    assert all(torch.equal(own[name], saved[name]) for name in saved)


def loads(run: dict[str, Any]) -> None:
    """The folder of a run gives its best model, and the classes that were trained."""
    loaded = load_run("runs/own")
    assert type(loaded.model) is found(run["model"]), type(loaded.model)
    assert type(loaded.datamodule) is found(run["data"]), type(loaded.datamodule)
    assert not loaded.model.training
    same_weights(loaded.model, "runs/own/checkpoints/best.ckpt")


def loads_a_path(run: dict[str, Any]) -> None:
    """So does the path of a checkpoint."""
    loaded = load_run("runs/own/checkpoints/last.ckpt")
    assert type(loaded.model) is found(run["model"]), type(loaded.model)
    same_weights(loaded.model, "runs/own/checkpoints/last.ckpt")


def predicts(run: dict[str, Any]) -> None:
    """`run.predict()` gives the columns of predictions.csv, one value per row."""
    columns = load_run("runs/own").predict()
    with Path("runs/own/predictions.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert ["row", *columns] == header, (list(columns), header)
    assert {len(values) for values in columns.values()} == {len(rows)}


def tested(run: dict[str, Any]) -> None:
    """The test was of the data named at `fit`: a stock Trainer gets the same loss on it."""
    loaded = load_run("runs/own")
    data = found(run["data"])(**run["data_arguments"]) if run["data_arguments"] else loaded.datamodule
    trainer = Trainer(enable_checkpointing=False, **QUIET)
    [expected] = trainer.test(loaded.model, datamodule=data, verbose=False)
    with Path("runs/own/metrics-test.csv").open(newline="") as file:
        [row] = [row for row in csv.DictReader(file) if row["test_loss"]]
    assert abs(float(row["test_loss"]) - expected["test_loss"]) < 1e-4, (row["test_loss"], expected["test_loss"])


def fit_by_hand(run: dict[str, Any]) -> None:
    """Train with a hand-written Trainer, which keeps no runs."""
    from lightning.pytorch.callbacks import ModelCheckpoint

    model, data = found("seed.module.LitModel")(hidden=[4]), found("seed.datamodule.LitDataModule")(split_seed=3)
    keep = ModelCheckpoint(dirpath="by_hand", filename="model")
    Trainer(max_epochs=1, limit_train_batches=4, callbacks=[keep], **QUIET).fit(model, datamodule=data)


def loads_by_hand(run: dict[str, Any]) -> None:
    """A checkpoint that does not say which class it is of, with the classes named."""
    model, data = found("seed.module.LitModel"), found("seed.datamodule.LitDataModule")
    loaded = load_run("by_hand/model.ckpt", model=model, datamodule=data)
    same_weights(loaded.model, "by_hand/model.ckpt")
    assert loaded.datamodule.hparams["split_seed"] == 3
    [values] = loaded.predict().values()
    assert len(values) == 442


def adamw(run: dict[str, Any]) -> None:
    """The last checkpoint holds the state of AdamW with the chosen learning rate."""
    [state] = torch.load("runs/own/checkpoints/last.ckpt", weights_only=True)["optimizer_states"]
    [group] = state["param_groups"]
    assert "betas" in group, sorted(group)
    assert group["lr"] == 0.003, group["lr"]


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print_to, sys.stdout = sys.stdout, io.StringIO()
    results = {
        promise: outcome(main, step) if isinstance(step, list) else outcome(globals()[step], asked["run"])
        for promise, step in asked["steps"]
    }
    print(f"\n{json.dumps(results)}", file=print_to, flush=True)
