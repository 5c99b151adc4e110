"""run.json: what a run was made of, and how it ended."""

import hashlib
import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import FIRST, QUICK, SHORT, error_line, run_names
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset

from {{ cookiecutter.project_slug }} import load_run
from {{ cookiecutter.project_slug }}.data import fingerprint as fingerprints
from {{ cookiecutter.project_slug }}.data.fingerprint import fingerprint
from {{ cookiecutter.project_slug }}.engine import provenance
from {{ cookiecutter.project_slug }}.engine.record import read_record, status_of
from {{ cookiecutter.project_slug }}.engine.results import config_hash
from {{ cookiecutter.project_slug }}.train import main

pytestmark = pytest.mark.slow  # it changes with the engine or with Lightning

ENDS = {"crash": RuntimeError("on purpose\nin two lines"), "term": SystemExit(143), "ctrl-c": KeyboardInterrupt()}


class OwnModel(LightningModule):
    """A model that never heard of this project, and that may come to an early end."""

    def __init__(self, end: str = "") -> None:
        super().__init__()
        self.layer = nn.Linear(6, 1)
        self.end = end

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        shutil.copy("runs/own/run.json", "seen.json")
        if batch_idx == 3 and self.end:
            raise ENDS[self.end]
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_loss", self.layer(batch[0]).square().mean())

    def configure_optimizers(self) -> optim.Optimizer:
        return optim.SGD(self.parameters(), lr=0.1)


class OwnData(LightningDataModule):
    """Data that never heard of this project."""

    def train_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(torch.randn(40, 6)), batch_size=8)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(torch.randn(12, 6)), batch_size=8)


class DescribedData(OwnData):
    """The same with a description."""

    def describe_data(self) -> dict[str, Any]:
        return {"rows": {"train": 40}, "recorded": "in winter"}


def _own(*args: str, data: type = OwnData) -> None:
    given = ["--model", f"{__name__}.OwnModel", "--data", f"{__name__}.{data.__name__}", "--trainer.max_epochs", "1"]
    main(["fit", "--name", "own", *SHORT, *given, *args])


def test_finished_run_says_what_it_was_made_of(trained: Path) -> None:
    record, config = read_record(trained), yaml.safe_load((trained / "config.yaml").read_text(encoding="utf-8"))
    assert record["status"] == "finished"
    assert record["seed"] == 0
    assert record["steps"] == 6
    assert record["started"] <= record["ended"]
    assert record["seconds"] > 0
    [session] = record["sessions"]
    assert session["command"] == ["fit", "--name", "first", *FIRST]
    assert (session["from_step"], session["to_step"]) == (0, 6)
    assert record["config_sha256"] == config_hash(config | {"name": "other", "ckpt_path": "a.ckpt"})
    assert record["config_sha256"] != config_hash(config | {"seed_everything": 1})
    assert next(iter(record["versions"])) == "python"
    assert record["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert record["hardware"]["trained_on"] == "cpu"

    run = load_run(trained)
    assert record["parameters"]["all"] == sum(parameter.numel() for parameter in run.model.parameters())
    assert record["data"]["rows"] == {split: len(rows) for split, rows in run.datamodule.splits.items()}
    assert [len(source["sha256"]) for source in record["data"]["sources"]] == [64]
    if "train_rows_by_class" in record["data"]:
        assert sum(record["data"]["train_rows_by_class"].values()) == record["data"]["rows"]["train"]


def test_resumed_run_adds_a_session(trained: Path) -> None:
    before = read_record(trained)
    before["sessions"][0]["status"] = "running"  # as if it had been killed
    before["versions"]["torch"] = "1.0"
    (trained / "run.json").write_text(json.dumps(before), encoding="utf-8")
    main(["fit", "--ckpt_path", "last", *QUICK, "--trainer.max_epochs", "2"])
    record = read_record(trained)
    assert (record["status"], record["started"], record["epochs"]) == ("finished", before["started"], 2)
    assert record["seconds"] > before["seconds"]
    first, second = record["sessions"]
    assert first == before["sessions"][0] | {"status": "killed"}
    assert (second["from_step"], second["to_step"]) == (6, record["steps"])
    assert second["changed"]["versions.torch"] == ["1.0", record["versions"]["torch"]]
    assert second["changed"]["config_sha256"] == [before["config_sha256"], record["config_sha256"]]


def test_error_before_training_changes_no_record(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (trained / "run.json").read_bytes()
    assert "must be above 0" in error_line(["fit", "--ckpt_path", "last", "--data.batch_size", "0"], capsys)
    assert "must be above 0" in error_line(["fit", "--name", "new", "--data.batch_size", "0"], capsys)
    main(["fit", "--name", "dry", *SHORT, "--trainer.fast_dev_run", "true"])
    assert run_names() == ["first"]
    assert (trained / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("crash", {"status": "failed", "error": "RuntimeError: on purpose"}),
        ("term", {"status": "stopped", "signal": "SIGTERM"}),
        ("ctrl-c", {"status": "stopped", "signal": "SIGINT"}),
    ],
)
def test_run_says_how_it_ended(workdir: Path, end: str, said: dict[str, str]) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises((RuntimeError, SystemExit)):
        _own("--model.end", end)
    signal.signal(signal.SIGINT, handler)  # Lightning ignores further ones
    record = read_record(Path("runs/own"))
    [session] = record["sessions"]
    assert record["status"] == said["status"]
    assert session["ended"] == record["ended"] is not None
    assert session["to_step"] == 3
    assert {name: session[name] for name in said} == said


def test_killed_run_is_recognized_by_its_process(workdir: Path) -> None:
    _own()
    seen = json.loads(Path("seen.json").read_text(encoding="utf-8"))  # as it was while it trained
    assert (seen["status"], seen["ended"]) == ("running", None)
    assert status_of(seen) == "running"
    [session] = seen["sessions"]
    if session["process_started"] is None:
        pytest.skip("this system does not tell when a process started")
    session["process_started"] = "another process has its number now"
    assert status_of(seen) == "killed"
    session["host"] = "elsewhere"  # where nobody can look from here
    assert status_of(seen) == "running"


def test_data_of_others_are_counted_or_described_by_themselves(workdir: Path) -> None:
    _own()
    assert read_record(Path("runs/own"))["data"] == {"rows": {"train": 40, "val": 12}}
    shutil.rmtree("runs")
    _own(data=DescribedData)
    assert read_record(Path("runs/own"))["data"] == {"rows": {"train": 40}, "recorded": "in winter"}


def test_commit_of_the_code_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("git"):
        pytest.skip("there is no git")

    def record() -> Any:
        provenance.RunRecord(tmp_path, [], 0, is_new=True)
        return read_record(tmp_path)["git"]

    def git(*command: str) -> str:
        name = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        run = subprocess.run(["git", "-C", code, *name, *command], capture_output=True, text=True, check=True)
        return run.stdout.strip()

    code = tmp_path / "code"
    code.mkdir()
    (code / "model.py").touch()
    monkeypatch.setattr(provenance, "__file__", str(code / "provenance.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert record() is None
    git("init", "--quiet")
    assert record() is None  # nothing is committed
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    assert record() == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (code / "new.py").touch()
    assert record() == {"commit": git("rev-parse", "HEAD"), "dirty": True}
    (code / "environment").mkdir()
    monkeypatch.setattr(provenance, "__file__", str(code / "environment/provenance.py"))
    assert record() is None  # installed inside a repository that does not hold the code


def test_lock_file_is_recorded(workdir: Path) -> None:
    Path("uv.lock").write_bytes(b"version = 1")
    provenance.RunRecord(workdir, [], 0, is_new=True)
    assert read_record(workdir)["lock"] == {"uv.lock": hashlib.sha256(b"version = 1").hexdigest()}


def test_fingerprint_is_that_of_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other, third = (tmp_path / name for name in ("one.csv", "other.csv", "third.csv"))
    content = bytes(range(256)) * 16
    one.write_bytes(content)
    other.write_bytes(content)
    third.write_bytes(content[:-1] + b"x")
    found = fingerprint("one", [one])
    assert found["sha256"] == hashlib.sha256(content).hexdigest()
    assert found == fingerprint("one", [other])
    assert fingerprint("both", [one, other])["sha256"] == hashlib.sha256(2 * content).hexdigest()

    monkeypatch.setattr(fingerprints, "WHOLE", 1000)  # as if these were gigabytes
    monkeypatch.setattr(fingerprints, "BLOCKS", 4)
    monkeypatch.setattr(fingerprints, "BLOCK", 16)
    sampled = fingerprint("one", [one])
    assert (sampled["bytes"], sampled["hashed"]) == (4096, "4 blocks of 16 bytes")
    assert sampled == fingerprint("one", [other])
    assert sampled["sha256"] != found["sha256"]
    assert fingerprint("", [third])["sha256"] != sampled["sha256"]  # the last byte differs
    assert fingerprint("", [one, third])["sha256"] != fingerprint("", [one, other])["sha256"]
    assert fingerprint("s3://bucket/rows.parquet", [])["sha256"] is None
