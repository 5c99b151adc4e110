"""The command line, from the first epoch to the predictions."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from {{ cookiecutter.project_slug }}.module import LitModel
from {{ cookiecutter.project_slug }}.train import main

QUICK = [
    *("--config", "configs/smoke.yaml", "--trainer.accelerator", "cpu"),
    *("--trainer.limit_train_batches", "20", "--trainer.limit_val_batches", "4"),
]


def _python_m(*args: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "120", "PYTHONIOENCODING": "ascii"}  # the poorest of consoles
    command = [sys.executable, "-m", "{{ cookiecutter.project_slug }}.train", *args]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def _load(path: str) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def _column(path: str, name: str) -> list[float]:
    with Path(path).open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def test_a_run_leaves_everything_in_its_folder_and_says_where(workdir: Path) -> None:
    result = _python_m("fit", "--name", "first", *QUICK)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(Path("runs/first"))
    for name in ("config.yaml", "metrics.csv", "curves.png", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert Path("runs/first", name).stat().st_size > 0
    before, *_, after = _column("runs/first/metrics.csv", "val_loss")
    assert after < before
    assert "warn" not in (result.stdout + result.stderr).lower()


def test_fit_resume_validate_test_and_predict_follow_each_other(workdir: Path) -> None:
    main(["fit", "--name", "first", *QUICK])
    main(["fit", "--ckpt_path", "last", *QUICK, "--trainer.max_epochs", "2"])
    assert [path.name for path in Path("runs").iterdir() if (path / "checkpoints").exists()] == ["first"]
    assert _load("runs/first/checkpoints/last.ckpt")["epoch"] == 1
    assert len(_column("runs/first/metrics.csv", "val_loss")) >= 3  # before training, and after each epoch

    before = Path("runs/first/metrics.csv").read_text()
    main(["validate", *QUICK])
    main(["test", "--ckpt_path", "last", *QUICK])
    main(["predict"])
    assert _column("runs/first/metrics-test.csv", "test_loss")[0] > 0
    best = min(_column("runs/first/metrics.csv", "val_loss"))
    assert _column("runs/first/metrics-validate.csv", "val_loss") == [pytest.approx(best)]
    assert Path("runs/first/predictions.csv").read_text().startswith("row,")
    assert Path("runs/first/metrics.csv").read_text() == before


def test_the_same_seed_gives_the_same_weights_to_the_last_bit(workdir: Path) -> None:
    for name in ("a", "b", "c"):
        main(["fit", "--name", name, "--seed_everything", "1" if name == "c" else "0", *QUICK])
    a, b, c = (_load(f"runs/{name}/checkpoints/last.ckpt")["state_dict"] for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_two_processes_train_one_model(workdir: Path) -> None:
    result = _python_m("fit", "--name", "ddp", *QUICK, "--config", "configs/strategy/ddp.yaml", "--trainer.devices=2")
    assert result.returncode == 0, result.stderr
    assert "Starting with 2 processes" in result.stderr
    before, *_, after = _column("runs/ddp/metrics.csv", "val_loss")
    assert after < before


def test_the_command_line_wins_over_the_checkpoint(workdir: Path) -> None:
    constant = ["--model.schedule", "constant"]
    main(["fit", "--name", "first", "--model.lr", "0.001", *constant, *QUICK])
    main(["fit", "--ckpt_path", "best", "--name", "as_it_was", *QUICK, "--trainer.max_epochs", "2"])
    main(["fit", "--ckpt_path", "last", "--name", "faster", "--model.lr", "0.5", *QUICK, "--trainer.max_epochs", "3"])
    for name, lr in (("as_it_was", 0.001), ("faster", 0.5)):
        content = _load(f"runs/{name}/checkpoints/last.ckpt")
        assert content["hyper_parameters"]["lr"] == lr
        assert content["optimizer_states"][0]["param_groups"][0]["lr"] == lr


def test_the_learning_rate_rises_and_falls(workdir: Path) -> None:
    schedule = ["--model.schedule", "cosine", "--model.warmup", "0.5", "--trainer.log_every_n_steps", "1"]
    main(["fit", "--name", "first", *QUICK, "--trainer.limit_train_batches", "10", *schedule])
    names = re.findall(r"\blr-[\w/]+", Path("runs/first/metrics.csv").read_text())
    rates = _column("runs/first/metrics.csv", names[0])
    assert len(rates) == 10
    top = rates.index(max(rates))
    assert top == 5
    assert rates == [*sorted(rates[:top]), *sorted(rates[top:], reverse=True)]


def test_training_stops_when_it_no_longer_helps(workdir: Path) -> None:
    main(["fit", "--name", "first", *QUICK, "--early_stopping", "2", "--trainer.max_epochs", "9", "--model.lr", "0"])
    assert _load("runs/first/checkpoints/last.ckpt")["epoch"] < 8


def test_averaged_weights_are_what_is_judged_and_kept(workdir: Path) -> None:
    main(["fit", "--name", "first", *QUICK, "--ema", "0.9"])
    content = _load("runs/first/checkpoints/best.ckpt")
    averaged, current = content["state_dict"], content["current_model_state"]
    assert not all(torch.equal(averaged[key], current[key]) for key in averaged)
    main(["validate", *QUICK])
    assert _column("runs/first/metrics-validate.csv", "val_loss") == [
        pytest.approx(_column("runs/first/metrics.csv", "val_loss")[-1])
    ]


def test_a_compiled_model_learns_the_same(workdir: Path) -> None:
    few = ["--trainer.limit_train_batches", "3", "--trainer.limit_val_batches", "1"]
    main(["fit", "--name", "plain", *QUICK, *few])
    main(["fit", "--name", "compiled", *QUICK, *few, "--compile", "eager"])  # the backend that needs no compiler
    plain, compiled = (_load(f"runs/{name}/checkpoints/last.ckpt")["state_dict"] for name in ("plain", "compiled"))
    assert plain.keys() == compiled.keys()
    for key, value in plain.items():
        torch.testing.assert_close(compiled[key], value)


def test_gradients_are_accumulated_and_clipped(workdir: Path) -> None:
    accumulated = ["--trainer.limit_train_batches", "6", "--trainer.accumulate_grad_batches", "3"]
    main(["fit", "--name", "first", *QUICK, *accumulated, "--trainer.gradient_clip_val", "0.5"])
    assert _load("runs/first/checkpoints/last.ckpt")["global_step"] == 2
    assert yaml.safe_load(Path("runs/first/config.yaml").read_text())["trainer"]["gradient_clip_val"] == 0.5


def test_throughput_is_measured(workdir: Path) -> None:
    main(["fit", "--name", "first", *QUICK, "--throughput", "true", "--trainer.log_every_n_steps", "1"])
    assert min(_column("runs/first/metrics.csv", "train/device/samples_per_sec")) > 0


def test_a_crash_leaves_a_checkpoint_to_go_on_from(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(LitModel):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 3:
                raise RuntimeError("broken on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(LitModel, "on_train_batch_end", Broken.on_train_batch_end)
        with pytest.raises(RuntimeError, match="broken on purpose"):
            main(["fit", "--name", "first", *QUICK])
    assert _load("runs/first/checkpoints/last.ckpt")["global_step"] == 4
    main(["fit", "--ckpt_path", "last", *QUICK])
    assert _load("runs/first/checkpoints/last.ckpt")["epoch"] == 0


def test_no_run_is_ever_overwritten(workdir: Path) -> None:
    main(["fit", "--name", "first", *QUICK])
    kept = Path("runs/first/checkpoints/last.ckpt").stat().st_mtime_ns
    main(["fit", "--name", "first", *QUICK])
    main(["fit", "--config", "runs/first/config.yaml"])  # the resolved config is a whole run
    assert Path("runs/first/checkpoints/last.ckpt").stat().st_mtime_ns == kept
    assert Path("runs/first-2/checkpoints/last.ckpt").exists()
    assert len(list(Path("runs").glob("*/checkpoints/last.ckpt"))) == 3


def test_a_second_model_is_one_new_file_and_one_new_config(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from {{ cookiecutter.project_slug }}.module import LitModel"
    Path("second.py").write_text(f"{source}\n\n\nclass Second(LitModel):\n    pass\n")
    Path("configs/second.yaml").write_text("model:\n  class_path: second.Second\n")
    monkeypatch.syspath_prepend(".")
    main(["fit", "--name", "second", "--config", "configs/second.yaml", *QUICK])
    main(["test"])  # needs no config: the checkpoint knows its model
    monkeypatch.delitem(sys.modules, "second")  # as in a new process: code outside the package has to be named
    with pytest.raises(SystemExit, match=r"second\.Second is not this project's: name it with --model"):
        main(["test"])
    main(["test", "--model", "second.Second"])
    assert yaml.safe_load(Path("runs/second/config.yaml").read_text())["model"]["class_path"] == "second.Second"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fit", "--trainer.max_epoch", "3"], "--trainer.max_epoch"),  # shortened
        (["fit", "--model.lrr", "3"], "lrr"),  # misspelt
        (["fit", "--trainer.max_epochs", "three"], "trainer.max_epochs"),
        (["fit", "--config", "configs/absent.yaml"], "absent.yaml"),
        (["test"], "--ckpt_path best: no run in runs has one yet"),
        (["fit", "--ckpt_path", "absent.ckpt"], "absent.ckpt: there is no such checkpoint"),
        (["fit", "--ckpt_path", "configs/train.yaml"], "configs/train.yaml: this is no checkpoint"),
        (["fit", "--name", "a/b"], "a/b"),
        (["predict", "--ckpt_path", "null"], "trained model"),
        (["fit", "--data.path", "absent.csv"], "absent.csv"),
        (["fit", "--data.batch_size", "0"], "--data.batch_size 0: it must be above 0"),
    ],
)
def test_a_mistake_gets_one_line_and_leaves_nothing(
    args: list[str], message: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(args)
    assert end.value.code not in (0, None)
    [line] = [text for text in f"{end.value.code}\n{capsys.readouterr().err}".splitlines() if "error: " in text]
    assert message in line
    assert not list(Path(".").glob("runs/*"))


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("subcommand", ["fit", "validate", "test", "predict"])
def test_a_checkpoint_that_would_run_code_is_refused(
    subcommand: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": _Code()}, "model.ckpt")
    with pytest.raises(SystemExit) as end:
        main([subcommand, "--ckpt_path", "model.ckpt", *QUICK])
    assert "not safe to load" in f"{end.value.code}{capsys.readouterr().err}"
    assert not Path("ran").exists()


def test_importing_the_package_stays_light() -> None:
    code = """
import sys
import {{ cookiecutter.project_slug }}
print({"torch", "lightning"} & set(sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_elsewhere_the_missing_config_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"train\.yaml"):
        main(["fit"])


@pytest.mark.parametrize("class_path", ["this.d", "lightning.pytorch.LightningDataModule.from_datasets"])
def test_a_checkpoint_names_no_code_to_run(class_path: str, workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"datamodule_hyper_parameters": {"_class_path": class_path}}, "model.ckpt")
    with pytest.raises(SystemExit) as end:
        main(["validate", "--ckpt_path", "model.ckpt", *QUICK])
    assert f"{class_path} is not this project's" in f"{end.value.code}{capsys.readouterr().err}"
    assert "this" not in sys.modules
