"""Checkpoints: what a resumed run keeps, and what is refused."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK, error_line, read_checkpoint
from examples import OTHER_LAYERS
from lightning.pytorch import Trainer

from {{ cookiecutter.project_slug }} import load_run
from {{ cookiecutter.project_slug }}.datamodule import LitDataModule
from {{ cookiecutter.project_slug }}.engine.errors import InputError
from {{ cookiecutter.project_slug }}.module import LitModel
from {{ cookiecutter.project_slug }}.train import main


@pytest.mark.slow
def test_command_line_wins_over_the_checkpoint(trained: Path) -> None:
    last = str(trained / "checkpoints" / "last.ckpt")
    for name, lr, options in (("as_trained", 0.002, []), ("faster", 0.5, ["--model.lr", "0.5"])):
        main(["fit", "--ckpt_path", last, "--name", name, *QUICK, "--trainer.max_epochs", "2", *options])
        content = read_checkpoint(f"runs/{name}/checkpoints/last.ckpt")
        assert content["epoch"] == 2
        assert content["hyper_parameters"]["lr"] == lr
        assert content["optimizer_states"][0]["param_groups"][0]["lr"] == lr


def test_refused_resume_leaves_the_checkpoints_as_they_were(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in trained.glob("checkpoints/*")}
    line = error_line(["fit", "--ckpt_path", "last", *QUICK, "--trainer.max_epochs", "2", OTHER_LAYERS], capsys)
    assert "last.ckpt does not fit the model" in line
    assert {path.name: path.read_bytes() for path in trained.glob("checkpoints/*")} == before


def test_resume_that_fails_before_training_leaves_the_checkpoints_as_they_were(trained: Path) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    content = read_checkpoint(last)
    content["optimizer_states"][0]["param_groups"] *= 2  # as of a model with other parameter groups
    torch.save(content, last)
    before = {path.name: path.read_bytes() for path in trained.glob("checkpoints/*")}
    with pytest.raises((ValueError, SystemExit)):
        main(["fit", "--ckpt_path", "last", *QUICK, "--trainer.max_epochs", "2"])
    assert {path.name: path.read_bytes() for path in trained.glob("checkpoints/*")} == before


@pytest.mark.parametrize("command", [["validate"], ["fit", "--ckpt_path", "last"]])
def test_data_options_that_contradict_the_checkpoint_are_refused(
    command: list[str], trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(trained.rglob("*"))
    line = error_line([*command, *QUICK, "--data.val_fraction", "0.3"], capsys)
    assert "--data.val_fraction 0.3: the checkpoint was trained with 0.1" in line
    assert sorted(trained.rglob("*")) == before


def test_checkpoint_of_a_hand_written_trainer_loads_with_its_classes_named(trained: Path) -> None:
    model, datamodule, _ = load_run(trained)
    trainer = Trainer(accelerator="cpu", max_steps=1, limit_val_batches=0, logger=False, enable_checkpointing=False)
    trainer.fit(model.train(), datamodule=datamodule)
    trainer.save_checkpoint("own.ckpt")
    with pytest.raises(InputError, match=r"own\.ckpt does not name the class of its model: pass it as model="):
        load_run("own.ckpt")
    run = load_run("own.ckpt", model=LitModel, datamodule=LitDataModule)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in run.model.state_dict().items())
    assert run.datamodule.state_dict() == datamodule.state_dict()


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("subcommand", ["fit", "predict"])
def test_checkpoint_with_pickled_code_is_refused(
    subcommand: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": _Code()}, "model.ckpt")
    assert "not safe to load" in error_line([subcommand, "--ckpt_path", "model.ckpt", *QUICK], capsys)
    assert not Path("ran").exists()


MKDIR = {"class_path": "subprocess.Popen", "init_args": {"args": ["mkdir", "ran"]}}
LIT_MODEL = "{{ cookiecutter.project_slug }}.module.LitModel"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"made_from": {"model": MKDIR}}, "subprocess.Popen"),
        ({"made_from": {"data": {"class_path": "this.d"}}}, "this.d"),
        ({"made_from": {"model": {"class_path": LIT_MODEL, "init_args": {"lr": MKDIR}}}}, "subprocess.Popen"),
        ({"made_from": {"model": {"class_path": LIT_MODEL, "init_args": {"lr": [{"a": MKDIR}]}}}}, "subprocess.Popen"),
        ({"made_from": {"optimizer": MKDIR}}, "subprocess.Popen"),
        ({"hyper_parameters": {"_class_path": "this.d"}}, "this.d"),
        ({"datamodule_hyper_parameters": {"_class_path": "lightning.pytorch.Trainer"}}, "lightning.pytorch.Trainer"),
        ({"hyper_parameters": {"lr": MKDIR}}, "subprocess.Popen"),
    ],
)
def test_checkpoint_that_names_a_foreign_class_is_refused(
    content: dict[str, Any], named: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(content | {"state_dict": {}}, "model.ckpt")
    line = error_line(["fit", "--ckpt_path", "model.ckpt", *QUICK], capsys)
    assert f"{named} is not a class of this project" in line
    assert not Path("ran").exists()
    assert "this" not in sys.modules
    with pytest.raises(InputError, match=f"{named} is not a class of this project"):
        load_run("model.ckpt", model=LitModel, datamodule=LitDataModule)


def _scheduler(function: str) -> dict[str, Any]:
    path = "torch.optim.lr_scheduler.LambdaLR"
    return {"lr_scheduler": {"class_path": path, "init_args": {"lr_lambda": function}}}


@pytest.mark.parametrize(
    "made_from",
    [
        _scheduler("this.d"),  # would be imported
        _scheduler("os.abort"),  # would be called
        {"model": {"class_path": LIT_MODEL, "init_args": {"lr": '{"class_path": "this.d"}'}}},
        {"model": "this.d"},
    ],
)
def test_checkpoint_that_names_a_foreign_function_is_refused(
    made_from: dict[str, Any], workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"made_from": made_from, "state_dict": {}}, "model.ckpt")
    assert error_line(["fit", "--ckpt_path", "model.ckpt", *QUICK, "--optimizer", "SGD"], capsys)
    assert "this" not in sys.modules


@pytest.mark.slow
def test_checkpoint_sets_nothing_but_model_data_and_optimizer(trained: Path, tmp_path: Path) -> None:
    content = read_checkpoint(str(trained / "checkpoints" / "last.ckpt"))
    content["made_from"]["trainer"] = {"default_root_dir": str(tmp_path / "elsewhere")}
    torch.save(content, "model.ckpt")
    main(["fit", "--ckpt_path", "model.ckpt", *QUICK, "--trainer.max_epochs", "2"])
    assert not (tmp_path / "elsewhere").exists()
