"""Every mistake gets one line that says what to do, and leaves nothing behind."""

from pathlib import Path

import pytest
from conftest import QUICK, error_line, run_names
from examples import MISTAKES, OTHER_LAYERS

from {{ cookiecutter.project_slug }}.train import main


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fit", "--trainer.max_epoch", "3"], "--trainer.max_epoch"),  # shortened
        (["fit", "--model.lrr", "3"], "lrr"),  # misspelled
        (["fit", "--trainer.max_epochs", "three"], "trainer.max_epochs"),
        (["fit", "--trainer.devices", "99", "--trainer.accelerator", "cpu"], "--trainer.devices 99: this machine has"),
        (["fit", "--config", "configs/absent.yaml"], "absent.yaml"),
        (["test"], "--ckpt_path best: no run in runs yet; train first with `fit`"),
        (["fit", "--ckpt_path", "absent.ckpt"], "absent.ckpt: no such checkpoint"),
        (["fit", "--ckpt_path", "configs/train.yaml"], "configs/train.yaml: not a checkpoint"),
        (["fit", "--name", "a/b"], "--name a/b: must be the name of a folder"),
        (["predict", "--ckpt_path", "null"], "predictions need a trained model"),
        (["fit", "--data.path", "absent.csv"], "absent.csv"),
        (["fit", "--data.batch_size", "0"], "--data.batch_size 0: must be above 0"),
    ],
)
def test_mistake_gets_one_line_and_leaves_no_run(
    args: list[str], message: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error_line(args, capsys)
    assert run_names() == []


ENGINE = [  # mistakes that every task has
    ("--model.lr -1", "--model.lr -1.0: must be 0 or more"),
    ("--model.lr .nan", "--model.lr nan: must be 0 or more"),
    ("--model.warmup 2", "--model.warmup 2.0: must be from 0 to 1"),
    ("--seed_everything -5", "--seed_everything -5: must be from 0 to 4294967295"),
    ("--seed_everything 99999999999", "--seed_everything 99999999999: must be from 0 to 4294967295"),
    (f"--name {'n' * 300}", "n…: File name too long"),
    ("--optimizer Abc", "--optimizer Abc: must be the name of a class"),
    ("--optimizer Adam --optimizer.lr -1", "--optimizer Adam: Invalid learning rate: -1"),
    ("--lr_scheduler StepLR --lr_scheduler.step_size 1", "--lr_scheduler: has no effect without --optimizer"),
    ("--trainer.default_root_dir configs/train.yaml", "configs/train.yaml: is a file"),
    ("--trainer.default_root_dir configs/train.yaml/runs", "configs/train.yaml/runs: Not a directory"),
    ("--trainer.barebones true", "--trainer.barebones true: leaves out metrics and checkpoints"),
    ("--trainer.accelerator abc", "--trainer.accelerator abc: "),
    ("--trainer.strategy abc", "--trainer.strategy abc: "),
    ("--trainer.precision abc", "--trainer.precision abc: must be "),
    ("--trainer.devices abc", "--trainer.devices abc: must be a number"),
    ("--trainer.accelerator cpu --trainer.devices -1", "--trainer.devices -1: "),
    ("--trainer.accumulate_grad_batches 0", "--trainer.accumulate_grad_batches 0: must be 1 or more"),
    ("--trainer.gradient_clip_val -1", "--trainer.gradient_clip_val -1: must be 0 or more"),
    ("--trainer.limit_train_batches 2.5", "--trainer.limit_train_batches 2.5: "),
    ("--trainer.val_check_interval 1000", "--trainer.val_check_interval 1000: "),
    ("--last_checkpoint.every_n_minutes -1", "--last_checkpoint.every_n_minutes -1.0: must be 0 or more"),
    ("--config configs/callbacks/compile.yaml --trainer.callbacks.backend abc", "backend abc: no such backend"),
]


@pytest.mark.parametrize(
    ("options", "message"), [*MISTAKES, *(pytest.param(*each, marks=pytest.mark.slow) for each in ENGINE)]
)
def test_option_and_value_are_named(
    options: str, message: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own.csv").write_text("x,y\n" + "1,a\n2,b\n" * 20)
    Path("own.txt").write_text("to be or not to be\n" * 500)
    line = error_line(["fit", *QUICK, *options.split()], capsys)
    assert message in line
    assert run_names() == []


def test_other_layers_leave_the_run_as_it_is(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = _contents(trained)
    line = error_line(["fit", "--ckpt_path", "last", *QUICK, OTHER_LAYERS], capsys)
    assert f"--ckpt_path {trained}/checkpoints/last.ckpt does not fit the model: " in line
    assert run_names() == ["first"]
    assert _contents(trained) == before


def test_unknown_monitor_ends_the_first_epoch(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--name", "first", *QUICK, "--trainer.limit_train_batches", "2", "--best_checkpoint.monitor"]
    line = error_line(["fit", *short, "absent"], capsys)
    assert "--best_checkpoint.monitor absent: no such metric; there are" in line
    assert {"train_loss", "val_loss"} <= set(line.replace(",", "").split())


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_missing_config_is_named_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"no configs.train\.yaml in this folder: go to the project's folder"):
        main(["fit"])
