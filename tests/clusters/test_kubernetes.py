"""Kubernetes: the manifests are valid, and their commands train in two "pods" as on one machine."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import runs
import yaml
from environments import python_with
from namespaces import Machine, machines, needs_namespaces
from test_torchrun import steps, wait_for

from conftest import CHOICES, render_into

KINDS = {
    "runtime.yaml": "TrainerV1alpha1TrainingRuntime",
    "trainjob.yaml": "TrainerV1alpha1TrainJob",
    "jobset.yaml": "JobsetV1alpha2JobSet",
}
READ = """
import sys, yaml
from kubeflow_trainer_api import models
content = yaml.safe_load(sys.stdin)
assert getattr(models, sys.argv[1]).from_dict(content).to_dict() == content, "a key is unknown"
"""


def check(kind: str, text: str) -> None:
    """Read a manifest by the models of Kubeflow Trainer and JobSet, which drop keys that they do not know."""
    python = python_with("kubeflow-trainer-api>=2.3", "pyyaml", alone=True)
    subprocess.run([python, "-c", READ, kind], input=text, text=True, check=True, capture_output=True)


@pytest.mark.parametrize("accelerator", CHOICES["accelerator"])
def test_manifests_are_valid(accelerator: str, tmp_path: Path) -> None:
    folder = render_into(tmp_path, cluster="kubernetes", accelerator=accelerator, project_slug="my_seed") / "kubernetes"
    for file, kind in KINDS.items():
        text = (folder / file).read_text()
        check(kind, text)
        with pytest.raises(subprocess.CalledProcessError):
            check(kind, text.replace("spec:", "spec:\n  unknown: 1", 1))
    validate = python_with("kubernetes-validate>=1.37", "pyyaml", alone=True).with_name("kubernetes-validate")
    core = [folder / "pvc.yaml", folder / "sweep.yaml"]
    subprocess.run([validate, "--strict", *core], check=True, capture_output=True)
    (tmp_path / "bad.yaml").write_text(core[1].read_text().replace("completions:", "completion:"))
    assert subprocess.run([validate, "--strict", tmp_path / "bad.yaml"], capture_output=True).returncode
    # What the project's volume, service account and image are called is the same everywhere.
    texts = {path.name: path.read_text() for path in folder.glob("*.yaml")}
    claims = {line.strip() for text in texts.values() for line in text.splitlines() if "claimName" in line}
    assert claims == {"persistentVolumeClaim: {claimName: my-seed-runs}"}
    assert "name: my-seed-runs" in texts["pvc.yaml"]
    has_gpu = ["nvidia.com/gpu" in texts[file] for file in ("trainjob.yaml", "jobset.yaml", "sweep.yaml")]
    assert has_gpu == [accelerator == "gpu"] * 3


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with the run `here`, of two processes without a launcher; its config is slow to train."""
    project = runs.make_project(tmp_path_factory.mktemp("kubernetes"), cluster="kubernetes", accelerator="cpu")
    runs.slow_down(project)
    runs.fit_here(project, "here")
    return project


@pytest.fixture
def pods() -> Iterator[list[Machine]]:
    with machines(2) as made:
        yield made


def container(project: Path, file: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the command and the environment of a manifest's container."""
    spec = yaml.safe_load((project / "kubernetes" / file).read_text())["spec"]
    if file == "jobset.yaml":
        pod = spec["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
        [found] = pod["containers"]
    else:
        found = spec["trainer"]
    return [*found["command"], *found["args"]], found["env"]


def start(project: Path, file: str, pods: list[Machine], log: Path) -> list[subprocess.Popen[str]]:
    """Start a manifest's command in each pod, with the environment that Kubernetes or Kubeflow Trainer gives it."""
    command, variables = container(project, file)
    started = []
    for rank, pod in enumerate(pods):
        # The rank comes from an annotation of the pod, the address from the cluster's DNS.
        given = {each["name"]: each.get("value", str(rank)) for each in variables}
        if file == "trainjob.yaml":
            assert not [name for name in given if name.startswith("PET_")]  # Kubeflow Trainer refuses them
            given |= {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_NODE_RANK": str(rank)}
            given |= {"PET_MASTER_ADDR": "", "PET_MASTER_PORT": "29400"}
        given["PET_MASTER_ADDR"] = pods[0].name
        started.append(pod.start(command, project, runs.environment(project) | given, log))
    return started


@needs_namespaces
@pytest.mark.parametrize("file", ["trainjob.yaml", "jobset.yaml"])
def test_pods_that_are_evicted_save_and_end_with_the_same_parameters(
    project: Path, pods: list[Machine], file: str
) -> None:
    log = project / f"{file}.log"
    processes = start(project, file, pods, log)
    wait_for(lambda: steps(project, "first") >= 4, log)
    pods[1].signal(processes[1], signal.SIGTERM)
    codes = [process.wait(timeout=120) for process in processes]  # the grace period
    assert 0 not in codes
    saved = steps(project, "first")
    assert 4 <= saved < runs.last(project, "here")["global_step"]
    processes = start(project, file, pods, log)  # as the JobSet does
    assert [process.wait(timeout=300) for process in processes] == [0, 0], log.read_text()
    runs.require_equal(project, "first", "here")
    assert len(runs.record(project, "first")["sessions"]) == 2
    print(file, "saved at step", saved, "norm", runs.norm(project, "first"))
    (project / "runs/first").rename(project / "runs" / file)


def test_steps_of_the_dockerfile_make_an_environment_that_trains(project: Path, tmp_path: Path) -> None:
    """In an environment that has the packages of the running one, in place of those the image would download."""
    kept = [line[1:] for line in (project / "kubernetes/Dockerfile.dockerignore").read_text().splitlines()]
    image = tmp_path / "image"
    image.mkdir()
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    [packages] = (tmp_path / "venv").glob("lib/python3*/site-packages")
    (packages / "running.pth").write_text(sysconfig.get_paths()["purelib"])
    environment = os.environ | {
        "PATH": f"{tmp_path / 'venv/bin'}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("PYTHONPATH", None)
    text = (project / "kubernetes/Dockerfile").read_text()
    command: list[str] = []
    for word, _, rest in (line.partition(" ") for line in text.splitlines() if line and not line.startswith("#")):
        if word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                assert source in kept
                place = image / target / source if target == "./" else image / target
                subprocess.run(["cp", "-rT", project / source, place], check=True)
        elif word == "RUN":
            done = rest.replace("torch --index-url ${TORCH_INDEX}", "torch").replace("useradd --uid 1000 train", "true")
            done = done.replace("chown train runs", "true")
            subprocess.run(done, shell=True, cwd=image, env=environment, check=True, stdout=subprocess.DEVNULL)
        elif word == "CMD":
            command = json.loads(rest)
    assert "USER train" in text
    assert command[0] == "torchrun"  # a script of the image's Python
    launcher = [tmp_path / "venv/bin/python", "-m", "torch.distributed.run", *command[1:]]
    options = ["--config", "configs/smoke.yaml", "--name", "first"]
    result = subprocess.run([*launcher, *options], cwd=image, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (image / "runs/first/checkpoints/last.ckpt").exists()
