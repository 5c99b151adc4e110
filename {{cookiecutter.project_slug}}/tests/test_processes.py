"""Several processes train, evaluate and resume one run."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import QUICK, ROOT, error_line, read_checkpoint, read_column, run_names
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from {{ cookiecutter.project_slug }}.engine.launcher import Launch
from {{ cookiecutter.project_slug }}.engine.shares import share_rows
from {{ cookiecutter.project_slug }}.train import main

MODULE = "{{ cookiecutter.project_slug }}.train"
AUTO = ["--name", "big", "--ckpt_path", "auto"]
TORCHRUN = {
    **{"TORCHELASTIC_RUN_ID": "1", "RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"},
    **{"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "2"},
    **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"},
}
SLURM_JOB = {"SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0"}
SLURM = SLURM_JOB | {"SLURM_STEP_ID": "0", "SLURM_NTASKS_PER_NODE": "2", "SLURM_LOCALID": "0"}


def _torchrun(*args: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *launcher, "-m", MODULE, *args]
    environment = os.environ | {"PYTHONPATH": path, "MPLBACKEND": "agg"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("rows", [2, 3, 5, 16, 33, 100, 101])
@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_processes_evaluate_every_row_once_in_as_many_batches(rows: int, processes: int, batch_size: int) -> None:
    if rows < processes:
        return
    seen, counts = [], set()
    for rank in range(processes):
        data = range(rows)
        sampler: DistributedSampler[int] = DistributedSampler(data, processes, rank, shuffle=False)  # type: ignore[arg-type]
        loader: DataLoader[int] = DataLoader(data, batch_size, sampler=sampler)  # type: ignore[arg-type]
        share_rows(loader)
        batches = [batch.tolist() for batch in loader]
        counts.add(len(batches))
        assert len(loader) == len(batches)
        assert max(map(len, batches)) <= batch_size + 1
        seen += [row for batch in batches for row in batch]
    assert seen == list(range(rows))
    assert len(counts) == 1


@pytest.mark.slow
def test_metrics_and_predictions_of_two_processes_are_those_of_one(trained: Path) -> None:
    here = ["--trainer.accelerator", "cpu"]
    for command in ("validate", "test", "predict"):
        main([command, *here])
    written = ("metrics-validate.csv", "metrics-test.csv", "predictions.csv")
    alone = {name: list(csv.reader((trained / name).open(newline="", encoding="utf-8"))) for name in written}
    for command in ("validate", "test", "predict"):
        result = _torchrun(command, *here)
        assert result.returncode == 0, result.stderr
        assert "warn" not in (result.stdout + result.stderr).lower()
    for name in written:
        header, *rows = csv.reader((trained / name).open(newline="", encoding="utf-8"))
        first, *expected = alone[name]
        assert header == first
        assert len(rows) == len(expected)
        for row, other in zip(rows, expected, strict=True):
            for value, before in zip(row, other, strict=True):
                try:
                    assert float(value) == pytest.approx(float(before), rel=1e-4)
                except ValueError:
                    assert value == before


def test_auto_starts_a_run_resumes_it_and_leaves_a_finished_one(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path("runs/big")
    folder.mkdir(parents=True)  # left by an attempt that was killed before its first checkpoint
    (folder / "metrics.csv").write_text("epoch,step,val_loss\n0,0,1e9\n")
    main(["fit", *AUTO, *QUICK])
    assert max(read_column(folder / "metrics.csv", "val_loss")) < 1e9
    main(["fit", *AUTO, *QUICK, "--trainer.max_epochs", "2"])
    assert read_checkpoint(folder / "checkpoints/last.ckpt")["epoch"] == 2
    before = (folder / "checkpoints/last.ckpt").stat().st_mtime_ns
    with pytest.raises(SystemExit) as end:
        main(["fit", *AUTO, *QUICK, "--trainer.max_epochs", "2"])
    assert end.value.code == 0
    assert (folder / "checkpoints/last.ckpt").stat().st_mtime_ns == before
    assert run_names() == ["big"]


@pytest.mark.parametrize(
    "args", [["fit", "--ckpt_path", "auto"], ["test", "--name", "big", "--ckpt_path", "auto"]], ids=["no name", "test"]
)
def test_auto_needs_a_name_and_fit(workdir: Path, args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    line = error_line([*args, *QUICK], capsys)
    assert line == "error: --ckpt_path auto: only for `fit`, together with --name, the run to resume or to start"


@pytest.mark.parametrize(
    ("environment", "option", "line"),
    [
        (TORCHRUN, "devices=3", "--trainer.devices 3 contradicts torchrun, which has started processes on each"),
        (TORCHRUN, "num_nodes=3", "--trainer.num_nodes 3 contradicts torchrun, which has started machines: 2; drop"),
        (SLURM, "devices=3", "--trainer.devices 3 contradicts Slurm, which has started processes on each machine: 2"),
        (SLURM | {"SLURM_NTASKS": "3"}, "devices=1", "Slurm has started 3 tasks on 2 machines, but each needs as many"),
        (SLURM_JOB, "devices=1", "this Slurm job has 4 tasks, but no srun has started them: put srun in front"),
        (SLURM_JOB | {"SLURM_STEP_ID": "0"}, "devices=1", "Slurm was asked for 4 tasks on any machine: use --nodes"),
    ],
)
def test_numbers_that_contradict_the_launcher_are_refused(
    environment: dict[str, str],
    option: str,
    line: str,
    workdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert error_line(["fit", *QUICK, f"--trainer.{option}"], capsys).startswith(f"error: {line}")
    assert run_names() == []


@pytest.mark.parametrize("devices", [1, -1, "auto", 2, "2"])
def test_launcher_decides_the_number_of_processes(devices: int | str) -> None:
    assert Launch("torchrun", 3, 2).settings(1, devices) == {"num_nodes": 3, "devices": 2}


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
def test_run_that_torchrun_stops_resumes_with_another_number_of_processes(signum: int, workdir: Path) -> None:
    stop = ["--trainer.callbacks+=faults.SignalAt", "--trainer.callbacks.hook", "on_train_batch_start"]
    when = ["--trainer.callbacks.call=3", f"--trainer.callbacks.signum={int(signum)}", "--trainer.callbacks.rank=1"]
    more = [*QUICK, "--trainer.max_epochs", "2"]
    result = _torchrun("fit", *AUTO, *more, *stop, *when)
    assert result.returncode != 0
    assert f"exitcode  : {128 + signum}" in result.stderr, result.stderr
    assert 3 <= read_checkpoint("runs/big/checkpoints/last.ckpt")["global_step"] <= 6
    result = _torchrun("fit", *AUTO, *more, "--trainer.callbacks=null", processes=1)
    assert result.returncode == 0, result.stderr
    assert "resumed on 1 instead of 2 processes: an optimizer step takes 1 instead of 2 batches" in result.stderr
    assert read_checkpoint("runs/big/checkpoints/last.ckpt")["global_step"] == 12
    assert run_names() == ["big"]


@pytest.mark.slow
@pytest.mark.parametrize("overlay", sorted(path.stem for path in ROOT.glob("configs/strategy/*.yaml")))
def test_every_strategy_trains_on_two_processes(overlay: str, workdir: Path) -> None:
    result = _torchrun("fit", "--name", "big", *QUICK, "--config", f"configs/strategy/{overlay}.yaml")
    assert result.returncode == 0, result.stderr
    assert read_checkpoint("runs/big/checkpoints/last.ckpt")["global_step"] == 6
    strategy = yaml.safe_load(Path("runs/big/config.yaml").read_text())["trainer"]["strategy"]
    assert overlay in str(strategy).lower()
