"""What this machine has: versions, cores, memory, devices, precisions, and the limits that training runs into."""

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import torch

from ..engine.errors import InputError
from .findings import Finding, size

PACKAGE = __name__.partition(".")[0]
CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")
FEW_FILES = 1024  # PyTorch's workers open several files each
UNLIMITED = 1 << 60  # bytes: cgroup v1 says no limit by a number close to 2**63
MATRIX = 512  # rows and columns of those that are multiplied to compare precisions
SECONDS = 0.1  # for each precision


class Cores(NamedTuple):
    """Cores of the machine, and those that this process may use.

    Attributes:
        machine: All logical cores.
        usable: Those that affinity and the cgroup allow, at least 1.
        limits: What allows fewer.
    """

    machine: int
    usable: int
    limits: str


class Memory(NamedTuple):
    """Memory in bytes; None where the system does not say.

    Attributes:
        total: Of the machine.
        available: Without swapping, within the limit of the cgroup.
        limit: Of the cgroup.
    """

    total: int | None
    available: int | None
    limit: int | None


def versions() -> Iterator[Finding]:
    """Name the versions of what matters."""
    yield Finding("system", platform.platform())
    yield Finding("Python", f"{platform.python_version()}, {sys.executable}")
    build = "ROCm" if torch.version.hip else "CUDA" if torch.version.cuda else "CPU"
    number = torch.version.hip or torch.version.cuda or ""
    yield Finding("PyTorch", f"{torch.__version__}, built for {f'{build} {number}'.strip()}")
    yield Finding("Lightning", version("lightning"))
    try:
        yield Finding(PACKAGE, version(PACKAGE))
    except PackageNotFoundError:
        do = "python -m pip install --editable . --group dev"
        yield Finding(PACKAGE, f"not installed; imported from {Path(__file__).parents[2]}", do)


def read_cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> Cores:
    """Count the cores that this process may use."""
    machine = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    limits = [f"affinity allows {allowed}"] if allowed < machine else []
    usable = allowed
    for folder in _cgroup_folders("cpu", proc, cgroups):
        quota, _, period = _first_line(folder / "cpu.max").partition(" ")  # v2: "50000 100000", or "max 100000"
        quota = quota or _first_line(folder / "cpu.cfs_quota_us")  # v1: -1 for no limit
        period = period or _first_line(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):
            share = int(quota) / int(period)
            if share < usable:
                usable = max(1, int(share))
                limits = [f"the cgroup allows {share:g}"]
    return Cores(machine, usable, " and ".join(limits))


def read_memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> Memory:
    """Read the memory of the machine and of the cgroup."""
    told: dict[str, int] = {}
    with suppress(OSError, ValueError, IndexError):
        for line in (proc / "meminfo").read_text().splitlines():
            told[line.partition(":")[0]] = int(line.split()[1]) * 1024
    total, available = told.get("MemTotal"), told.get("MemAvailable")
    if total is None and {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= getattr(os, "sysconf_names", {}).keys():
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = None
    for folder in _cgroup_folders("memory", proc, cgroups):
        for most, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            text = _first_line(folder / most)
            if text.isdecimal() and int(text) < min(limit or UNLIMITED, total or UNLIMITED):
                limit = int(text)
                taken = _first_line(folder / used)
                free = limit - int(taken) if taken.isdecimal() else limit
                available = min(free, available) if available is not None else free
    return Memory(total, available, limit)


def devices(cores: Cores, memory: Memory) -> Iterator[Finding]:
    """List the processor, its memory, and every accelerator."""
    of = f" of {cores.machine}; {cores.limits}" if cores.usable < cores.machine else ""
    yield Finding("CPU", f"{cores.usable} cores{of}; PyTorch uses {torch.get_num_threads()}")
    parts = [f"{size(memory.total)} in all"] if memory.total else []
    parts += [f"{size(memory.limit)} in this cgroup"] if memory.limit else []
    parts += [f"{size(memory.available)} available"] if memory.available is not None else []
    yield Finding("memory", ", ".join(parts) or "unknown")
    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        yield Finding(f"GPU {number}", f"{found.name}, {size(found.total_memory)}")
    if torch.backends.mps.is_available():
        yield Finding("MPS", "the GPU of Apple silicon, which shares the memory")
    if find_spec("torch_xla"):
        yield Finding("TPU", f"torch_xla {version('torch_xla')}")
    if not torch.cuda.is_available() and shutil.which("nvidia-smi"):
        do = "install a PyTorch for CUDA: https://pytorch.org/get-started/locally"
        yield Finding("GPU", "there is a driver, but PyTorch sees no GPU", do if not torch.version.cuda else "")


def count_gpus() -> int:
    """Count the GPUs that this process sees."""
    return torch.cuda.device_count()


def gpu_memory() -> int | None:
    """Return the memory of the smallest GPU in bytes, None without one."""
    count = torch.cuda.device_count()
    return min((torch.cuda.get_device_properties(number).total_memory for number in range(count)), default=None)


def overlay() -> str:
    """Return the name of the overlay in configs/accelerator/ that fits."""
    if torch.cuda.is_available():
        return "gpu"
    if torch.backends.mps.is_available():
        return "mps"
    return "tpu" if find_spec("torch_xla") else "cpu"


def accelerator(chosen: str, precision: str) -> Finding:
    """Check that the accelerator of the config is here.

    Args:
        chosen: `trainer.accelerator`.
        precision: `trainer.precision`.
    """
    from lightning.pytorch.accelerators import AcceleratorRegistry

    fits = f"--config configs/accelerator/{overlay()}.yaml"
    found = f"the config says {chosen}, {precision}; here fits {fits}"
    names = ("cuda", "mps") if chosen == "gpu" else (chosen,)
    known = set(AcceleratorRegistry.available_accelerators())
    if chosen == "auto" or not known.intersection(names):  # one of your own checks itself
        return Finding("accelerator", found)
    if any(AcceleratorRegistry[name]["accelerator"].is_available() for name in known.intersection(names)):
        return Finding("accelerator", found)
    return Finding("accelerator", f"the config says {chosen}, which is not here", fits, fatal=True)


def precisions(chosen: str) -> Finding:
    """Compare the speed of float32 and bfloat16 on the best device, by matrix products.

    Args:
        chosen: `trainer.precision`.
    """
    device = torch.device({"gpu": "cuda", "mps": "mps"}.get(overlay(), "cpu"))
    base = _products_per_second(device, torch.float32)
    try:
        half = _products_per_second(device, torch.bfloat16) / base
    except RuntimeError:
        return Finding("precision", f"{device.type}: float32 only")
    found = [f"{device.type}: bfloat16 takes {1 / half:.2g} of float32's time in matrix products (measured)"]
    if device.type == "cuda":
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        found.append(f"TensorFloat32 {base / _products_per_second(device, torch.float32):.2g}")
        torch.set_float32_matmul_precision(before)
    do = ""
    if half < 1 and chosen.startswith("bf16"):
        do = "--trainer.precision 32-true is faster here"
    elif device.type == "cuda" and half > 1.2 and chosen.startswith("32"):
        do = "--trainer.precision bf16-mixed"
    return Finding("precision", ", ".join(found), do)


def limits() -> Iterator[Finding]:
    """Check the limit of open files."""
    with suppress(ImportError):  # which Windows does not have
        from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit

        soft, hard = getrlimit(RLIMIT_NOFILE)
        few = soft != RLIM_INFINITY and soft < FEW_FILES
        most = "unlimited" if hard == RLIM_INFINITY else f"{hard:,}"
        do = f"ulimit -n {hard if hard != RLIM_INFINITY else 65536}: workers open several files each" if few else ""
        now = "unlimited" if soft == RLIM_INFINITY else f"{soft:,}"
        yield Finding("open files", f"{now}, at most {most}", do)


def shared_memory(needed: int, folder: Path = Path("/dev/shm")) -> Finding | None:
    """Check the folder through which workers hand over batches.

    Args:
        needed: Bytes of the batches that workers hold at a time; 0 without workers.
        folder: Where it is mounted; elsewhere there is no such limit.
    """
    if not folder.is_dir():
        return None
    usage = shutil.disk_usage(folder)
    found = f"{size(usage.free)} free of {size(usage.total)}"
    if not needed:
        return Finding(str(folder), f"{found}; no worker needs it")
    short = usage.free < needed
    do = "docker run --shm-size 8g; in Kubernetes, an emptyDir with medium: Memory" if short else ""
    return Finding(str(folder), f"{found}; workers hold {size(needed)} of batches", do)


def disk(root: Path, checkpoint: int) -> Finding:
    """Compare the free disk with the checkpoints of a run.

    Args:
        root: Folder of the runs, which need not exist.
        checkpoint: Bytes of a checkpoint.
    """
    free = shutil.disk_usage(_existing(root)).free
    needed = 3 * checkpoint  # best.ckpt, last.ckpt, and the one that is being written
    found = f"{size(free)} free for {root}; a run needs {size(needed)} for 3 checkpoints"
    do = "free some space, or name another folder: --trainer.default_root_dir"
    return Finding("disk", found, do if free < needed else "", fatal=free < needed)


def write_speed(root: Path, seconds: float = 1.0) -> float:
    """Measure in bytes per second how fast a file is written to a folder and reaches the disk.

    Args:
        root: Folder of the runs, which need not exist.
        seconds: How long it is tried.

    Raises:
        InputError: If nothing can be written.
    """
    block = os.urandom(1 << 24)
    try:
        with TemporaryFile(dir=_existing(root)) as file:
            start, written = time.perf_counter(), 0
            while time.perf_counter() - start < seconds:
                written += file.write(block)
                file.flush()
                os.fsync(file.fileno())
            return written / (time.perf_counter() - start)
    except OSError as error:
        raise InputError(f"{root}: {error.strerror}; give --plan.write_speed") from None


def _existing(root: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    return next(folder for folder in (root.resolve(), *root.resolve().parents) if folder.is_dir())


def _products_per_second(device: torch.device, dtype: torch.dtype) -> float:
    factor = torch.rand(MATRIX, MATRIX, device=device).to(dtype)
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    float((factor @ factor)[0, 0])  # the first one chooses a kernel
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        product = factor @ factor
        count += 1
        if count % 10 == 0:
            wait()
    float(product[0, 0])
    return count / (time.perf_counter() - start)


def _cgroup_folders(controller: str, proc: Path, cgroups: Path) -> Iterator[Path]:
    """List the folders of this process's cgroup and of those above it, for cgroups of version 1 and 2."""
    with suppress(OSError):
        for line in (proc / "self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            if names == "" or controller in names.split(","):
                root = cgroups / names if names else cgroups
                folder = root / path.strip("/")
                yield from (each for each in (folder, *folder.parents) if each.is_relative_to(root))


def _first_line(path: Path) -> str:
    with suppress(OSError):
        return path.read_text().partition("\n")[0].strip()
    return ""
