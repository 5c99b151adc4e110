"""SkyPilot: the task is valid, and its commands train on one node and on two, and resume after a kill."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import runs
import yaml
from environments import python_with
from namespaces import machines, needs_namespaces
from test_torchrun import steps, wait_for

from conftest import CHOICES, render_into

READ = "import sys, yaml, sky; print(sky.Task.from_yaml_config(yaml.safe_load(sys.stdin)).num_nodes)"


@pytest.mark.parametrize("accelerator", CHOICES["accelerator"])
def test_task_is_valid(accelerator: str, tmp_path: Path) -> None:
    project = render_into(tmp_path, cluster="skypilot", accelerator=accelerator, project_slug="my_seed")
    text = (project / "sky.yaml").read_text()
    python = python_with("skypilot>=0.14", alone=True)
    environment = os.environ | {"HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}

    def read(task: str) -> subprocess.CompletedProcess[str]:
        command = [python, "-c", READ]
        return subprocess.run(command, input=task, capture_output=True, text=True, env=environment, check=False)

    valid = read(text)
    assert (valid.returncode, valid.stdout) == (0, "1\n" if accelerator == "tpu" else "2\n"), valid.stderr
    assert read(text.replace("num_nodes", "number_of_nodes")).returncode
    assert ("accelerators: A100:1  # of each node" in text) == (accelerator == "gpu")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """Return a project, the home of a user whose `setup` has run, and the task."""
    project = runs.make_project(tmp_path_factory.mktemp("skypilot"), cluster="skypilot", accelerator="cpu")
    runs.slow_down(project)
    home = tmp_path_factory.mktemp("home")
    task: dict[str, Any] = yaml.safe_load((project / "sky.yaml").read_text())
    # Packages of the running environment, in place of those that would be downloaded
    subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True)
    [packages] = (home / "venv").glob("lib/python3*/site-packages")
    (packages / "running.pth").write_text(sysconfig.get_paths()["purelib"])
    environment = os.environ | {"HOME": str(home)}
    subprocess.run(["bash", "-e", "-c", task["setup"]], cwd=project, env=environment, check=True, capture_output=True)
    return project, home, task


def node(task: tuple[Path, Path, dict[str, Any]], rank: int, addresses: list[str], name: str) -> dict[str, str]:
    """Return the environment that SkyPilot gives to a node."""
    project, home, content = task
    own = {"HOME": str(home), "SKYPILOT_NODE_RANK": str(rank), "SKYPILOT_NUM_NODES": str(len(addresses))}
    own |= {"SKYPILOT_NODE_IPS": "\n".join(addresses), "SKYPILOT_NUM_GPUS_PER_NODE": "0", "MPLBACKEND": "agg"}
    return os.environ | content["envs"] | own | {"RUNS": str(project / "runs"), "RUN_NAME": name}


@needs_namespaces
@pytest.mark.parametrize("count", [1, 2])
def test_nodes_that_are_lost_are_replaced_and_resume(task: tuple[Path, Path, dict[str, Any]], count: int) -> None:
    project, _, content = task
    name, here = f"nodes-{count}", f"here-{count}"
    runs.fit_here(project, here, processes=count)
    log = project / f"{name}.log"
    for attempt in ("loses its nodes", "finishes", "is finished"):
        with machines(count) as nodes:
            addresses = [each.address for each in nodes]
            processes = [
                each.start(["bash", "-c", content["run"]], project, node(task, rank, addresses, name), log)
                for rank, each in enumerate(nodes)
            ]
            if attempt == "loses its nodes":
                wait_for(lambda: steps(project, name) >= 4, log)
            else:
                assert [process.wait(timeout=300) for process in processes] == [0] * count, log.read_text()
                runs.require_equal(project, name, here)
    assert len(runs.record(project, name)["sessions"]) == 2
    print(count, "nodes: norm", runs.norm(project, name))
