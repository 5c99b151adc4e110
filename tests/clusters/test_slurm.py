"""cluster=slurm: the jobs of a rendered project, on a real Slurm with several nodes on this host.

Whatever interrupts a job, it ends with the parameters and logs of a run that nobody interrupted, and takes every step
once.
"""

import csv
import random
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import runs
from slurm_cluster import Cluster, cluster, needs_slurm

pytestmark = needs_slurm

PACED = r'''
"""Makes every step slow enough to be interrupted, and notes it."""

import time
from pathlib import Path

from lightning.pytorch import Callback


class Paced(Callback):
    """Append each step to <name of the run>.steps, and sleep.

    Args:
        seconds: How long.
        fails: Rank of the process that raises at the start.
    """

    def __init__(self, seconds: float = 0.1, fails: int | None = None) -> None:
        self.seconds = seconds
        self.fails = fails

    def setup(self, trainer, pl_module, stage) -> None:
        if trainer.global_rank == self.fails:
            raise OSError("no such disk")

    def on_train_batch_end(self, trainer, *args) -> None:
        if trainer.is_global_zero:
            with Path(f"{Path(trainer.loggers[0].log_dir).name}.steps").open("a") as file:
                file.write(f"{trainer.global_step}\n")
        time.sleep(self.seconds)
'''
LOADED = '''
"""Data that a worker process loads."""

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset


class Loaded(LightningDataModule):
    """Rows of ten numbers with their sum."""

    in_features, out_features = 10, 1

    def _loader(self, shuffle: bool) -> DataLoader:
        x = torch.randn(320, 10, generator=torch.Generator().manual_seed(0))
        data = TensorDataset(x, x.sum(dim=1, keepdim=True))
        return DataLoader(data, batch_size=10, shuffle=shuffle, num_workers=1, persistent_workers=True)

    def train_dataloader(self) -> DataLoader:
        return self._loader(shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader(shuffle=False)
'''
EPOCHS = 4
STEPS = 16 * EPOCHS  # of two processes
CPU = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
FIT = [*CPU, "--trainer.max_epochs", str(EPOCHS), "--trainer.callbacks+", f"{runs.PACKAGE}.paced.Paced"]
TWO = ["--nodes", "2", "--job-name"]
SCRIPT = "slurm/train.sbatch"
LINE = re.compile(r"^error: .*$", re.MULTILINE)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with the run `here`, of two processes without Slurm."""
    project = runs.make_project(tmp_path_factory.mktemp("slurm"), cluster="slurm")
    (project / "src" / runs.PACKAGE / "paced.py").write_text(PACED.lstrip())
    (project / "src" / runs.PACKAGE / "loaded.py").write_text(LOADED.lstrip())
    return project


@pytest.fixture(scope="module")
def slurm(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("s"), project, runs.environment(project)) as started:
        yield started


@pytest.fixture(scope="module")
def limited(slurm: Cluster) -> str:
    """Return a job that its time limit interrupts while others are tested; Slurm counts in minutes."""
    options = ["--partition", "aside", "--time", "1", "--signal", "SIGUSR1@50"]
    return slurm.sbatch(*options, *TWO, "limited", SCRIPT, *FIT, "--trainer.callbacks.seconds", "0.8")


@pytest.fixture(scope="module", autouse=True)
def here(project: Path, limited: str) -> None:
    runs.fit_here(project, "here", *FIT[-2:], "--trainer.callbacks.seconds", "0")


def steps(project: Path, run: str) -> list[int]:
    """Return the steps that a run has taken, in their order."""
    path = project / f"{run}.steps"
    return list(map(int, path.read_text().split())) if path.exists() else []


def wait_for_step(slurm: Cluster, job: str, run: str, step: int) -> None:
    """Wait until a run has taken a step."""
    end = time.monotonic() + 120
    while not steps(slurm.project, run) or steps(slurm.project, run)[-1] < step:
        assert time.monotonic() < end, (slurm.facts(job), slurm.log(job))
        time.sleep(0.05)


def require_uninterrupted(
    slurm: Cluster, job: str, name: str, restarts: int | None = None, other: str = "here"
) -> None:
    """Check that a job has completed as if nothing had happened, as another run has."""
    facts = slurm.wait(job)
    assert facts["JobState"] == "COMPLETED", slurm.log(job)
    assert restarts is None or int(facts["Restarts"]) == restarts
    run = f"{name}-{job}"
    runs.require_equal(slurm.project, run, other)
    assert steps(slurm.project, run) == list(range(1, STEPS + 1))
    assert [path.name for path in slurm.project.glob(f"runs/{name}*")] == [run]
    print(f"{name}: {facts['RunTime']} in the last start, {facts['Restarts']} restarts, norm", end=" ")
    print(runs.norm(slurm.project, run))


def test_two_nodes_end_with_the_parameters_of_two_processes(slurm: Cluster) -> None:
    job = slurm.sbatch(*TWO, "two", SCRIPT, *FIT, "--trainer.callbacks.seconds", "0")
    require_uninterrupted(slurm, job, "two", restarts=0)
    assert slurm.facts(job)["StdOut"] == str(slurm.project / f"slurm/two-{job}.out")
    assert "warn" not in slurm.log(job).lower()


def test_signals_at_random_steps_change_nothing(slurm: Cluster) -> None:
    fit = [*FIT, "--data", f"{runs.PACKAGE}.loaded.Loaded"]
    other = slurm.sbatch("--partition", "aside", *TWO, "loaded", SCRIPT, *fit, "--name", "loaded")
    job = slurm.sbatch(*TWO, "signals", SCRIPT, *fit)
    signals = ["USR1", "TERM", "USR1"]
    for number, (name, step) in enumerate(zip(signals, sorted(random.sample(range(4, 50), 3)), strict=True), start=1):
        wait_for_step(slurm, job, f"signals-{job}", step)
        slurm.run("scancel", "--signal", name, job)
        slurm.wait(job, "PENDING")
        assert slurm.facts(job)["Restarts"] == str(number), slurm.log(job)
    assert slurm.wait(other)["JobState"] == "COMPLETED", slurm.log(other)
    require_uninterrupted(slurm, job, "signals", restarts=3, other="loaded")
    log = slurm.log(job)
    for number in (1, 2, 3):
        assert f"stopped by a signal: back into the queue for restart {number} of at most 20" in log
    assert "Error" not in log


def test_job_continues_after_preemption(slurm: Cluster) -> None:
    job = slurm.sbatch(*TWO, "preempted", SCRIPT, *FIT)
    wait_for_step(slurm, job, f"preempted-{job}", random.randint(5, 40))
    urgent = slurm.sbatch("--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap", "sleep 2")
    slurm.wait(urgent)
    assert slurm.facts(job)["Restarts"] == "1", slurm.log(job)
    require_uninterrupted(slurm, job, "preempted", restarts=1)


def test_job_continues_after_an_administrator_has_requeued_it(slurm: Cluster) -> None:
    job = slurm.sbatch(*TWO, "requeued", SCRIPT, *FIT)
    wait_for_step(slurm, job, f"requeued-{job}", random.randint(5, 40))
    slurm.run("scontrol", "requeue", job)
    require_uninterrupted(slurm, job, "requeued", restarts=1)


def test_job_that_is_stopped_too_often_ends_and_is_continued_by_hand(slurm: Cluster) -> None:
    job = slurm.sbatch(*TWO, "capped", SCRIPT, *FIT, MAX_RESTARTS="0")
    wait_for_step(slurm, job, f"capped-{job}", 5)
    slurm.run("scancel", "--signal=USR1", job)
    facts = slurm.wait(job)
    assert (facts["JobState"], facts["ExitCode"], facts["Restarts"]) == ("FAILED", "138:0", "0")
    assert "stopped after 0 restarts, the most allowed" in slurm.log(job)
    again = slurm.sbatch(*TWO, "again", SCRIPT, *FIT, "--name", f"capped-{job}")
    assert slurm.wait(again)["JobState"] == "COMPLETED", slurm.log(again)
    assert steps(slurm.project, f"capped-{job}") == list(range(1, STEPS + 1))
    runs.require_equal(slurm.project, f"capped-{job}", "here")


def test_cancelled_job_ends_for_good_and_has_saved(slurm: Cluster) -> None:
    job = slurm.sbatch(*TWO, "cancelled", SCRIPT, *FIT)
    saved = slurm.sbatch("--partition=aside", *TWO, "saved", SCRIPT, *FIT)
    wait_for_step(slurm, job, f"cancelled-{job}", 5)
    slurm.run("scancel", job)
    wait_for_step(slurm, saved, f"saved-{saved}", 5)
    slurm.run("scancel", "--signal=INT", saved)
    facts = slurm.wait(saved)
    assert (facts["JobState"], facts["ExitCode"]) == ("FAILED", "130:0"), slurm.log(saved)
    assert slurm.wait(job)["JobState"] == "CANCELLED"
    time.sleep(8)  # in which a requeued job would start
    assert [slurm.facts(each)["Restarts"] for each in (job, saved)] == ["0", "0"]
    for run in (f"cancelled-{job}", f"saved-{saved}"):
        assert runs.last(slurm.project, run)["global_step"] == steps(slurm.project, run)[-1]


@pytest.mark.parametrize(
    ("options", "args", "line"),
    [
        (["-N2", "-n2", "--ntasks-per-node=1"], ["--trainer.devices", "3"], "processes on each machine: 1; drop"),
        (
            ["-N2"],
            ["--trainer.num_nodes", "3"],
            "--trainer.num_nodes 3 contradicts Slurm, which has started machines: 2",
        ),
        (["-N2", "--ntasks-per-node=2", "-n3"], [], "Slurm has started 3 tasks on 2 machines, but each needs as many"),
        (["-N2"], ["--trainer.callbacks.fails", "1"], None),
    ],
    ids=["devices", "nodes", "uneven", "a task fails"],
)
def test_job_with_an_error_ends_at_once(slurm: Cluster, options: list[str], args: list[str], line: str | None) -> None:
    job = slurm.sbatch(*options, "--job-name=wrong", SCRIPT, *FIT, *args)
    facts = slurm.wait(job)
    assert (facts["JobState"], facts["ExitCode"], facts["Restarts"]) == ("FAILED", "1:0", "0"), slurm.log(job)
    if line:
        assert line in LINE.findall(slurm.log(job))[0]
        assert "Traceback" not in slurm.log(job)
        assert not list(slurm.project.glob("runs/wrong*"))
    else:
        assert "no such disk" in slurm.log(job)


def test_without_srun_one_process_trains_and_several_tasks_are_refused(slurm: Cluster) -> None:
    fit = [sys.executable, "-m", f"{runs.PACKAGE}.train", "fit", *CPU, "--trainer.max_epochs", "1", "--name"]
    one = slurm.sbatch("--output=one.out", "--wrap", " ".join([*fit, "batch"]))
    wrap = " ".join([*fit, "refused"])
    several = slurm.sbatch("--output=several.out", "--nodes=2", "--ntasks-per-node=1", "--wrap", wrap)
    anywhere = slurm.sbatch("--output=anywhere.out", "--partition=aside", "-n2", "--wrap", f"srun {wrap}")
    assert slurm.wait(one)["JobState"] == "COMPLETED", slurm.log(one)
    assert runs.record(slurm.project, "batch")["status"] == "finished"
    assert slurm.wait(several)["JobState"] == slurm.wait(anywhere)["JobState"] == "FAILED"
    refused = "error: this Slurm job has 2 tasks, but no srun has started them: put srun in front of the command\n"
    assert slurm.log(several).endswith(refused)
    assert slurm.log(several).count("\n") == 2  # with that of the seed
    refused = "error: Slurm was asked for 2 tasks on any machine: use --nodes and --ntasks-per-node instead of --ntasks"
    assert refused in slurm.log(anywhere)
    # In the shell of `salloc`, of `srun --pty bash`, and on a login node
    for number, within in enumerate((["salloc", "-N2", "-n2"], ["srun", "--job-name=bash", "-n2", "-N1"], [])):
        command = [*within, *fit, f"shell-{number}"] if number != 1 else [*within, "sh", "-c", _only_first(fit, number)]
        said = slurm.run(*command)
        assert "warn" not in said.lower()
        assert runs.record(slurm.project, f"shell-{number}")["status"] == "finished"
    assert not list(slurm.project.glob("runs/refused*"))


def _only_first(fit: list[str], number: int) -> str:
    return f'[ "$SLURM_PROCID" != 0 ] || {" ".join(fit)} shell-{number}'


def test_array_of_seeds_gives_mean_and_spread(slurm: Cluster) -> None:
    options = [*CPU, "--trainer.max_epochs", "2"]
    array = slurm.sbatch("--array=0-1", "slurm/seeds.sbatch", *options)
    outcome = slurm.sbatch(f"--dependency=afterok:{array}", "slurm/sweep.sbatch", "--seeds", "0", "1", *options)
    assert slurm.wait(outcome)["JobState"] == "COMPLETED", slurm.log(outcome)
    with (slurm.project / "runs/seeds/scores.csv").open(newline="") as file:
        scores = {row["metric"]: row for row in csv.DictReader(file)}
    for metric in ("val_loss", "test_loss"):
        both = [float(scores[metric][seed]) for seed in ("seed-0", "seed-1")]
        assert scores[metric]["n"] == "2"
        assert both[0] != both[1]
        assert float(scores[metric]["mean"]) == pytest.approx(sum(both) / 2)
    other = [sys.executable, "-m", f"{runs.PACKAGE}.sweep", "--seeds", "0", "1", *options, "--model.lr", "0.5"]
    with pytest.raises(AssertionError, match="runs/seeds/seed-0 was trained with other options"):
        slurm.run(*other)


def test_workers_of_an_array_share_one_search(slurm: Cluster) -> None:
    options = ["--trials", "5", *CPU, "--trainer.max_epochs", "1"]
    array = slurm.sbatch("--array=1-2", "slurm/sweep.sbatch", *options)
    for task in (f"{array}_1", f"{array}_2"):
        assert slurm.wait(task)["JobState"] == "COMPLETED", slurm.log(task)
    trials = (slurm.project / "runs/sweep/trials.csv").read_text().splitlines()
    assert len(trials) == 1 + 5
    assert all(",finished," in trial for trial in trials[1:])
    assert len(list(slurm.project.glob("runs/sweep/trial-*/run.json"))) == 5
    logs = [slurm.log(f"{array}_{task}") for task in (1, 2)]
    assert all(re.search(r"trial-\d+: val_loss", log) for log in logs)  # both have worked


def test_job_continues_after_its_time_limit(slurm: Cluster, limited: str) -> None:
    require_uninterrupted(slurm, limited, "limited")
    assert int(slurm.facts(limited)["Restarts"]) > 0
