"""torchrun: one command on any number of machines, also if one of them goes down and comes back."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import runs
from namespaces import Machine, machines, needs_namespaces

pytestmark = needs_namespaces

COMMAND = ["-m", f"{runs.PACKAGE}.train", "fit", *runs.FIT, "--ckpt_path", "auto"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with the run `here`, of two processes without a launcher."""
    project = runs.make_project(tmp_path_factory.mktemp("torchrun"))
    runs.fit_here(project, "here")
    return project


@pytest.fixture
def two() -> Iterator[list[Machine]]:
    with machines(2) as made:
        yield made


def wait_for(condition: Callable[[], object], log: Path, seconds: float = 120) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def steps(project: Path, name: str) -> int:
    """Return the step of last.ckpt; 0 without one."""
    saved = (project / "runs" / name / "checkpoints/last.ckpt").exists()
    return runs.last(project, name)["global_step"] if saved else 0


def torchrun(first: Machine, nodes: str, name: str, *args: str) -> list[str]:
    """Return the command of the rendered docs/scaling.md."""
    rendezvous = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{first.name}:29500", "--rdzv-id", name]
    return ["torchrun", "--nnodes", nodes, "--nproc-per-node", "1", *rendezvous, *args, *COMMAND, "--name", name]


def test_two_machines_end_with_the_parameters_of_two_processes(project: Path, two: list[Machine]) -> None:
    log = project / "two.log"
    command = torchrun(two[0], "2", "two")
    processes = [machine.start(command, project, runs.environment(project), log) for machine in two]
    assert [process.wait(timeout=300) for process in processes] == [0, 0], log.read_text()
    runs.require_equal(project, "two", "here")
    assert not list((project / "runs").glob("two-*"))
    print("norm", runs.norm(project, "two"))


def test_run_continues_while_a_machine_is_down_and_when_it_is_back(project: Path, two: list[Machine]) -> None:
    log = project / "elastic.log"
    environment = runs.environment(project) | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    options = ["--last_checkpoint.every_n_steps", "4", "--trainer.max_epochs", "12"]
    command = [*torchrun(two[0], "1:2", "elastic", "--max-restarts", "5"), *options]
    stays = two[0].start(command, project, environment, log)
    two[1].start(command, project, environment, log)
    wait_for(lambda: steps(project, "elastic") >= 12, log)
    two[1].kill()
    wait_for(lambda: "resumed on 1 instead of 2 processes" in log.read_text(), log)
    alone = steps(project, "elastic")
    wait_for(lambda: steps(project, "elastic") > alone, log)
    back = two[1].start(command, project, environment, log)
    assert [stays.wait(timeout=400), back.wait(timeout=60)] == [0, 0], log.read_text()
    said = re.findall(r"resumed on \d instead of \d processes", log.read_text())
    assert said == ["resumed on 1 instead of 2 processes", "resumed on 2 instead of 1 processes"]
    assert runs.record(project, "elastic")["status"] == "finished"
    assert runs.last(project, "elastic")["epoch"] == 12
    assert not list((project / "runs").glob("elastic-*"))


def test_machines_that_do_not_share_the_runs_are_told_so(project: Path, two: list[Machine], tmp_path: Path) -> None:
    log = project / "apart.log"
    command = torchrun(two[0], "2", "here")
    other = tmp_path / "other"
    other.mkdir()
    (other / "configs").symlink_to(project / "configs")
    (project / "runs/here/run.json").write_text("{}")  # so that the run is not finished
    places = [project, other]
    processes = [
        machine.start([*command, "--trainer.max_epochs", "5"], place, runs.environment(project), log)
        for machine, place in zip(two, places, strict=True)
    ]
    assert [process.wait(timeout=300) for process in processes] == [1, 1], log.read_text()
    assert re.search(
        r"error: the processes resume from a checkpoint of \d+ bytes and no checkpoint: keep the runs in a folder that "
        "all machines share",
        log.read_text(),
    ), log.read_text()
