"""The command line, from the first epoch to the predictions."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from conftest import FIRST, QUICK, SHORT, read_checkpoint, read_column, run_names

from {{ cookiecutter.project_slug }} import load_run
from {{ cookiecutter.project_slug }}.engine import curves
from {{ cookiecutter.project_slug }}.train import main


def _python_m(*args: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "120", "PYTHONIOENCODING": "ascii"}  # the poorest of consoles
    command = [sys.executable, "-m", "{{ cookiecutter.project_slug }}.train", *args]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def _weights(path: str | Path) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in load_run(path, "last").model.parameters()])


def test_run_leaves_its_files_and_prints_its_folder(workdir: Path) -> None:
    result = _python_m("fit", "--name", "first", *QUICK, "--trainer.limit_train_batches", "20")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-2:] == [str(Path("runs/first")), str(Path("runs/first/report.html"))]
    for name in ("config.yaml", "metrics.csv", "curves.png", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert Path("runs/first", name).stat().st_size > 0
    before, *_, after = read_column("runs/first/metrics.csv", "val_loss")
    assert after < before
    assert "warn" not in (result.stdout + result.stderr).lower()


def test_picture_of_many_metrics_starts_with_the_loss_and_says_what_it_leaves_out() -> None:
    names = [*(f"metric{number}" for number in range(99)), "loss"]
    figure = curves.draw({f"{stage}_{name}": {0: 1.0, 31: 0.5} for name in names for stage in ("train", "val")})
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", *names[: curves.PANELS - 1]]
    assert figure.get_suptitle() == f"{curves.PANELS} of 100 metrics; metrics.csv has all of them"


def test_fit_resume_validate_test_and_predict_follow_each_other(workdir: Path) -> None:
    main(["fit", "--name", "first", *QUICK])
    main(["fit", "--ckpt_path", "last", *QUICK, "--trainer.max_epochs", "2"])
    assert run_names() == ["first"]
    assert read_checkpoint("runs/first/checkpoints/last.ckpt")["epoch"] == 2
    assert len(read_column("runs/first/metrics.csv", "val_loss")) >= 3  # before training, and after each epoch

    before = Path("runs/first/metrics.csv").read_text()
    main(["validate", *QUICK])
    main(["test", "--ckpt_path", "last", *QUICK])
    main(["predict"])
    assert read_column("runs/first/metrics-test.csv", "test_loss")[0] > 0
    best = min(read_column("runs/first/metrics.csv", "val_loss")[1:])  # the untrained model is never saved
    assert read_column("runs/first/metrics-validate.csv", "val_loss") == [pytest.approx(best)]
    assert Path("runs/first/predictions.csv").read_text(encoding="utf-8").startswith("row,")
    assert Path("runs/first/metrics.csv").read_text() == before


def test_same_seed_gives_the_same_weights(trained: Path) -> None:
    main(["fit", "--name", "same", *FIRST])
    main(["fit", "--name", "other", *FIRST, "--seed_everything", "1"])
    weights = _weights(trained)
    assert torch.equal(_weights("runs/same"), weights)
    assert not torch.equal(_weights("runs/other"), weights)


@pytest.mark.slow
def test_two_processes_train_one_model(workdir: Path) -> None:
    result = _python_m("fit", "--name", "ddp", *QUICK, "--config", "configs/strategy/ddp.yaml", "--trainer.devices=2")
    assert result.returncode == 0, result.stderr
    assert "Starting with 2 processes" in result.stderr
    assert run_names() == ["ddp"]
    assert read_checkpoint("runs/ddp/checkpoints/last.ckpt")["global_step"] == 6


def test_learning_rate_warms_up_and_decays(workdir: Path) -> None:
    schedule = ["--model.schedule", "cosine", "--model.warmup", "0.5", "--trainer.log_every_n_steps", "1"]
    main(["fit", "--name", "first", *QUICK, *schedule])
    names = re.findall(r"\blr-[\w/]+", Path("runs/first/metrics.csv").read_text())
    rates = read_column("runs/first/metrics.csv", names[0])
    assert len(rates) == 6
    peak = rates[3]
    assert rates[:3] == pytest.approx([0.25 * peak, 0.5 * peak, 0.75 * peak])
    assert peak > rates[4] > rates[5]


def test_gradients_are_accumulated_and_clipped(workdir: Path) -> None:
    steps = [*QUICK, "--trainer.accumulate_grad_batches", "3", "--trainer.gradient_clip_val", "0.001"]
    for name, lr in (("untrained", "0"), ("clipped", "1")):
        main(["fit", "--name", name, *steps, "--optimizer", "SGD", "--optimizer.lr", lr])
    assert read_checkpoint("runs/clipped/checkpoints/last.ckpt")["global_step"] == 2
    change = (_weights("runs/clipped") - _weights("runs/untrained")).norm().item()
    assert 0.0005 < change < 0.0021  # two steps of at most 0.001


def test_no_run_is_overwritten(trained: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    main(["fit", "--name", "first", "--config", "runs/first/config.yaml"])  # a resolved config is a whole run
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before
    assert Path("runs/first-2/checkpoints/last.ckpt").exists()


SECOND = """
from lightning.pytorch import LightningModule
from torch import Tensor, nn, optim


class Autoencoder(LightningModule):
    def __init__(self, inputs: int, bottleneck: int = 4, optimizer: str = "Adam") -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(inputs, bottleneck), nn.Linear(bottleneck, inputs))
        self.optimizer = optimizer

    def step(self, batch: list[Tensor], stage: str) -> Tensor:
        x = batch[0].float()
        loss = nn.functional.l1_loss(self.layers(x), x.flatten(1))
        self.log(f"{stage}_loss", loss)
        return loss

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.step(batch, "train")

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.step(batch, "val")

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.step(batch, "test")

    def configure_optimizers(self) -> optim.Optimizer:
        return getattr(optim, self.optimizer)(self.parameters(), lr=0.01)
"""


def test_second_model_is_one_file_and_one_config(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datamodule = load_run(trained).datamodule
    datamodule.setup("fit")
    inputs = next(iter(datamodule.train_dataloader()))[0][0].numel()
    Path("second.py").write_text(SECOND)
    model = {"class_path": "second.Autoencoder", "init_args": {"inputs": inputs, "optimizer": "SGD"}}
    Path("configs/second.yaml").write_text(yaml.safe_dump({"model": model}))
    monkeypatch.syspath_prepend(".")
    main(["fit", "--name", "second", *QUICK, "--config", "configs/second.yaml"])
    main(["fit", "--ckpt_path", "last", *SHORT, "--trainer.max_epochs", "2"])
    main(["test", *SHORT])  # needs no config: the checkpoint knows its model
    assert read_column("runs/second/metrics-test.csv", "test_loss")[0] > 0

    run = load_run("runs/second", "last")
    assert type(run.model).__name__ == "Autoencoder"
    assert run.model.optimizer == "SGD"
    saved = read_checkpoint("runs/second/checkpoints/last.ckpt")
    assert saved["epoch"] == 2
    assert all(torch.equal(value, saved["state_dict"][key]) for key, value in run.model.state_dict().items())

    monkeypatch.delitem(sys.modules, "second")  # as in a new process: code outside the package has to be named
    with pytest.raises(SystemExit, match=r"second\.Autoencoder is not a class of this project; .* --model"):
        main(["test"])
    named = ["--model", "second.Autoencoder", "--model.inputs", str(inputs)]
    main(["test", *named, *SHORT])


def test_importing_the_package_stays_light() -> None:
    code = """
import sys
import {{ cookiecutter.project_slug }}
print({"torch", "lightning"} & set(sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
