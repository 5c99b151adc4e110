"""The variables of launchers: what they say, and what is wrong with them."""

import math
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from ..engine.errors import InputError
from ..engine.launcher import find_launch
from .findings import Finding

# The variables whose values are shown; no others, since they may hold secrets.
LAUNCHERS = {
    "torchrun": (
        *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE"),
        *("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_MAX_RESTARTS"),
        *("TORCHELASTIC_RESTART_COUNT", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"),
    ),
    "Slurm": (
        *("SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_STEP_ID", "SLURM_NNODES", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"),
        *("SLURM_CPUS_PER_TASK", "SLURM_GPUS_ON_NODE", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"),
        *("SLURM_JOB_NODELIST", "SLURM_RESTART_COUNT"),
    ),
    "Kubeflow": (
        *("PET_NNODES", "PET_NPROC_PER_NODE", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT"),
        *("PET_RDZV_BACKEND", "PET_RDZV_ENDPOINT"),
    ),
    "Kubernetes": ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX", "JOBSET_NAME"),
    "Ray": ("RAY_ADDRESS", "RAY_JOB_ID"),
}
DEVICES = (
    *("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "OMP_NUM_THREADS"),
    *("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"),
)
SHELL = "bash"  # the job name of `srun --pty bash`, whose steps cannot be told from the shell
PATIENCE = 5  # seconds for a name server
TORCHRUN = "start it with torchrun, which sets them all"

Resolve = Callable[[str], str]


def check_launcher(environ: Mapping[str, str], cores: int, gpus: int, resolve: Resolve | None = None) -> list[Finding]:
    """List the launchers' variables and what is wrong with them.

    Args:
        environ: The environment.
        cores: Cores that this process may use.
        gpus: GPUs that it sees.
        resolve: Returns the address of a host, or raises OSError.
    """
    seen = {
        launcher: ", ".join(f"{name}={environ[name]}" for name in names if name in environ)
        for launcher, names in {**LAUNCHERS, "devices, threads": DEVICES}.items()
    }
    findings = [Finding(launcher, values) for launcher, values in seen.items() if values]
    if not any(seen[launcher] for launcher in ("torchrun", "Slurm", "Kubeflow", "Ray")):
        findings.insert(0, Finding("launcher", "none: one machine, processes started by Lightning"))
    checks = (_torchrun, _slurm, _kubeflow)
    findings += [finding for check in checks for finding in check(environ)]
    findings += _hosts(environ, resolve or resolve_host)
    return [*findings, *_threads(environ, cores), *_gpus(environ, gpus)]


def check_agreement(num_nodes: Any, devices: Any) -> Iterator[Finding]:
    """Compare the config with the number of machines and processes that a launcher has started.

    Args:
        num_nodes: `trainer.num_nodes`.
        devices: `trainer.devices`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's, where srun is installed: said in `_slurm` where it matters
            launch = find_launch()
        if launch:
            launch.settings(num_nodes, devices)
            yield Finding("processes", f"{launch.by}: {launch.nodes} x {launch.processes}, machines x processes")
    except InputError as error:
        yield Finding("processes", "the config contradicts the launcher", str(error), fatal=True)
    except ValueError as error:  # a variable is no number
        yield Finding("processes", "the launcher's variables cannot be read", str(error), fatal=True)


@contextmanager
def no_launcher() -> Iterator[None]:
    """Hide the launchers' variables, so that a step on one device waits for nobody."""
    hidden = {name: os.environ.pop(name) for names in LAUNCHERS.values() for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def resolve_host(name: str) -> str:
    """Return the address of a host.

    Raises:
        OSError: If there is none, or the name server does not answer in time.
    """
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(socket.gethostbyname, name).result(PATIENCE)
    except TimeoutError:
        raise OSError(f"no answer within {PATIENCE} s") from None
    finally:
        pool.shutdown(wait=False)


def _number(environ: Mapping[str, str], name: str) -> int | None:
    """Read a whole number, None if it is not set or anything else."""
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else None


def _torchrun(environ: Mapping[str, str]) -> Iterator[Finding]:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_PORT")
    for name in names:
        if environ.get(name) and _number(environ, name) is None:
            yield Finding(name, f"{environ[name]!r} is no number", f"unset {name}, or {TORCHRUN}", fatal=True)
    rank, world = _number(environ, "RANK"), _number(environ, "WORLD_SIZE")
    if rank is not None and "WORLD_SIZE" not in environ:
        yield Finding("RANK", "set without WORLD_SIZE", f"unset RANK, or {TORCHRUN}", fatal=True)
    if world is not None and world > 1:
        if "RANK" not in environ:
            yield Finding("WORLD_SIZE", "set without RANK", f"unset WORLD_SIZE, or {TORCHRUN}", fatal=True)
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not environ.get(name)]
        if missing:
            do = f"{TORCHRUN}; or export MASTER_ADDR=<host of rank 0> MASTER_PORT=29500"
            yield Finding("WORLD_SIZE", f"{world} processes without {' and '.join(missing)}", do, fatal=True)
    if rank is not None and world is not None and rank >= world:
        yield Finding("RANK", f"{rank} of {world}: ranks end at {world - 1}", "number them from 0", fatal=True)
    restarts = _number(environ, "TORCHELASTIC_MAX_RESTARTS") or 0
    several = environ.get("GROUP_WORLD_SIZE", "1") != "1"
    if restarts and several and environ.get("TORCH_DISABLE_SHARE_RDZV_TCP_STORE") != "1":
        found = f"{restarts} restarts on several machines: one that comes back is not let in again"
        yield Finding("torchrun", found, "export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 on every machine")


def _slurm(environ: Mapping[str, str]) -> Iterator[Finding]:
    tasks = _number(environ, "SLURM_NTASKS") or 1
    if tasks == 1 or "TORCHELASTIC_RUN_ID" in environ:  # torchrun comes before Slurm
        return
    name = environ.get("SLURM_JOB_NAME")
    if name == SHELL:
        found = f"the job is called {name}, like a shell, so fit trains on one of {tasks} tasks"
        yield Finding("Slurm", found, "choose another name: --job-name train")
    elif name == "interactive" and "SLURM_STEP_ID" not in environ:  # of `salloc`
        found = f"a shell of a job with {tasks} tasks: without srun, fit trains in one process"
        yield Finding("Slurm", found, "for all tasks: srun python -m ...")
    elif "SLURM_STEP_ID" not in environ:  # which srun sets; a batch script has all the others, a rank included
        found = f"{tasks} tasks, but srun did not start this process: it would wait for the other {tasks - 1}"
        yield Finding("Slurm", found, "put srun in front: srun python -m ...", fatal=True)
    if "SLURM_NTASKS_PER_NODE" not in environ:
        found = f"{tasks} tasks without their number per node, which Lightning refuses"
        nodes = _number(environ, "SLURM_NNODES") or 1
        do = f"#SBATCH --nodes {nodes} and --ntasks-per-node {math.ceil(tasks / nodes)} instead of --ntasks"
        yield Finding("Slurm", found, do, fatal=True)


def _kubeflow(environ: Mapping[str, str]) -> Iterator[Finding]:
    if "TORCHELASTIC_RUN_ID" in environ or not any(name.startswith("PET_") for name in environ):
        return
    nodes = environ.get("PET_NNODES", "1").rpartition(":")[2]
    several = nodes != "1" or environ.get("PET_NPROC_PER_NODE", "1") != "1"
    package = __name__.partition(".")[0]
    do = f"the command of the container is: torchrun -m {package}.train fit ..."
    yield Finding("Kubeflow", "PET_* are for torchrun, which did not start this process", do, fatal=several)
    if nodes != "1" and not (environ.get("PET_MASTER_ADDR") or environ.get("PET_RDZV_ENDPOINT")):
        yield Finding("Kubeflow", f"{nodes} nodes without PET_MASTER_ADDR", "let the TrainJob set it", fatal=True)


def _hosts(environ: Mapping[str, str], resolve: Resolve) -> Iterator[Finding]:
    for name in ("MASTER_ADDR", "PET_MASTER_ADDR"):
        if host := environ.get(name):
            try:
                resolve(host)
            except OSError as error:
                do = "name a host that every machine can resolve, or its IP address"
                yield Finding(name, f"{host}: {error.strerror or error}", do, fatal=True)
    machines = [_number(environ, name) or 1 for name in ("GROUP_WORLD_SIZE", "SLURM_NNODES")]
    if max(machines) > 1 and not {"GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"} & environ.keys():
        own = socket.gethostname()
        try:
            address = resolve(own)
        except OSError:
            address = "no address"
        if address == "no address" or address.startswith("127."):
            do = "export GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME, e.g. eth0; or mend /etc/hosts"
            yield Finding("host name", f"{own} has {address}: other machines do not reach this one", do)


def _threads(environ: Mapping[str, str], cores: int) -> Iterator[Finding]:
    named = ("LOCAL_WORLD_SIZE", "SLURM_NTASKS_PER_NODE", "PET_NPROC_PER_NODE")
    processes = max([_number(environ, name) or 1 for name in named])
    if processes > 1 and "OMP_NUM_THREADS" not in environ and "SLURM_STEP_ID" not in environ:
        found = f"not set: each of {processes} processes starts {cores} threads on the same cores"
        yield Finding("OMP_NUM_THREADS", found, f"export OMP_NUM_THREADS={max(1, cores // processes)}")


def _gpus(environ: Mapping[str, str], gpus: int) -> Iterator[Finding]:
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        if environ.get(name, "0").strip() in ("", "-1"):
            yield Finding(name, "empty, which hides every GPU", f"unset {name}, or export {name}=0")
    here = _number(environ, "LOCAL_WORLD_SIZE") or 1
    if 0 < gpus < here:
        do = f"torchrun --nproc-per-node {gpus}"
        yield Finding("GPUs", f"{here} processes on this machine, but {gpus} of them", do, fatal=True)
