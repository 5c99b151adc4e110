"""Peak memory and speed of a table larger than memory: stream it to disk, measure it, encode it, train from it.

    python benchmarks/table_memory.py --gigabytes 4.4 --limit_gb 1 --folder /tmp

It renders a `regression` project, writes that many bytes of random float32 features and a linear target to a Parquet
file (a little smaller, since compressed) in a temporary folder, and trains on it by the documented command in a child
process. The folder needs four times the size, and is removed. The child is killed as soon as its anonymous memory
(`RssAnon` of /proc, polled) passes the limit. Pages of mapped files do not count: the kernel drops them whenever memory
is short. With `--cgroup` (as root), the kernel also enforces the limit, in a memory cgroup in which these pages count.

It prints a line of JSON: the exit status, the peak of anonymous memory, and for every step its seconds, its rows per
second and the peak during it. Before that, it trains on a small table twice, in memory and from disk, and fails unless
all losses are the same to the last bit. Linux only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from cookiecutter.main import cookiecutter

REPO = Path(__file__).parents[1]
GROUP = 1 << 16  # rows of a row group
CHILD = """
import functools, json, sys, threading, time
from pathlib import Path

log, *sys.argv[1:] = sys.argv[1:]
peak = 0

def poll():
    global peak
    while True:
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = max(peak, *(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")))
        time.sleep(0.01)

def start():
    global peak
    peak = 0
    return time.perf_counter()

def end(step, began, **more):
    with open(log, "a") as file:
        print(json.dumps({"step": step, "seconds": time.perf_counter() - began, "peak": peak, **more}), file=file)

def timed(owner, name, step):
    function = getattr(owner, name)

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        began = start()
        try:
            return function(*args, **kwargs)
        finally:
            end(step, began)

    setattr(owner, name, wrapper)

threading.Thread(target=poll, daemon=True).start()
began = start()
from table_project import train
from table_project.data import encoder, rows, tabular
from table_project.module import LitModel
time.sleep(0.1)
end("imports", began)
timed(rows, "require_converted", "check")
timed(rows, "content_key", "hash")
timed(rows, "store", "stream")
timed(tabular, "describe", "statistics: columns")
timed(tabular, "split_table", "split")
timed(encoder.Encoder, "fit", "statistics: encoder")
timed(tabular, "map_tensors", "encode")
losses, began = [], 0.0

def before(self):
    global began
    began = start()

def after(self):
    end("train", began, rows=self.trainer.num_training_batches * 4096)
    if losses:
        Path(log).with_suffix(".losses").write_text(json.dumps([loss.item().hex() for loss in losses]))

def keep(self, outputs, batch, batch_idx):
    if batch_idx < 1000:
        losses.append(outputs["loss"].detach())

LitModel.on_train_epoch_start, LitModel.on_train_epoch_end, LitModel.on_train_batch_end = before, after, keep
train.main()
"""


def write_table(path: Path, size: int, features: int = 80) -> int:
    """Write about `size` bytes of random features and a linear target; return the number of rows."""
    random = np.random.default_rng(0)
    weights = random.standard_normal(features, dtype=np.float32)
    groups = max(1, round(size / (4 * (features + 1) * GROUP)))
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for number in range(groups):
            x = random.standard_normal((GROUP, features), dtype=np.float32)
            y = x @ weights + random.standard_normal(GROUP, dtype=np.float32)
            frame = pl.from_numpy(x, [f"x{number}" for number in range(features)]).with_columns(y=y)
            frame.write_parquet(Path(folder, f"{number:06}.parquet"))
        pl.scan_parquet(Path(folder, "*.parquet")).sink_parquet(path, row_group_size=GROUP)
    return groups * GROUP


@contextmanager
def memory_cgroup(limit: int) -> Iterator[Path]:
    """Make a memory cgroup of `limit` bytes without swap, of whichever version there is."""
    root, unified = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cgroup.controllers").exists()
    group = (root if unified else root / "memory") / f"table_memory_{os.getpid()}"
    limits = ("memory.max", "memory.swap.max") if unified else ("memory.limit_in_bytes", "memory.swappiness")
    try:
        group.mkdir()
        for name, value in zip(limits, (limit, 0), strict=True):
            (group / name).write_text(str(value))
    except OSError as error:
        if group.exists():
            group.rmdir()
        sys.exit(f"error: --cgroup: {error}; run it as root, where the memory controller of cgroups is on")
    try:
        yield group
    finally:
        group.rmdir()


def peak_of(group: Path) -> int | None:
    """Return the most bytes that a cgroup has held, cached pages of files included; None before Linux 5.19."""
    names = ("memory.peak", "memory.max_usage_in_bytes")
    return next((int((group / name).read_text()) for name in names if (group / name).exists()), None)


def drop_cached(path: Path) -> None:
    """Drop the pages of a file from the cache: those of this process would not count in the child's cgroup."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fit(project: Path, table: Path, limit: float, *options: str, cgroup: Path | None = None) -> dict[str, Any]:
    """Train in a child process, which is killed beyond `limit` bytes of anonymous memory; return what it measured."""
    log = table.with_name("steps.jsonl")
    losses = log.with_suffix(".losses")
    for earlier in (log, losses):
        earlier.unlink(missing_ok=True)
    command = [sys.executable, "-c", CHILD, str(log), "fit", "--data.path", str(table), "--data.target", "y"]
    command += ["--data.batch_size", "4096", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", *options]
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    with tempfile.TemporaryFile("w+") as printed:
        enter = (lambda: (cgroup / "cgroup.procs").write_text("0")) if cgroup else None  # 0: the process that writes
        child = subprocess.Popen(
            command, cwd=project, env=environment, stdout=printed, stderr=subprocess.STDOUT, preexec_fn=enter
        )
        peak = 0
        while child.poll() is None:
            peak = max(peak, anonymous(child.pid))
            if peak > limit:
                child.kill()
            time.sleep(0.01)
        printed.seek(0)
        if child.returncode:
            print(printed.read()[-3000:], file=sys.stderr)
    return {
        "exit status": child.returncode,
        "peak": peak,
        "steps": [json.loads(line) for line in log.read_text().splitlines()],
        "losses": json.loads(losses.read_text()) if losses.exists() else [],
    }


def anonymous(pid: int) -> int:
    """Return the anonymous memory of a process in bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def main() -> None:
    """Compare a small table, measure a large one, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=4.4)
    parser.add_argument("--limit_gb", type=float, default=1.0)
    parser.add_argument("--features", type=int, default=80)
    parser.add_argument("--batches", type=int, default=1000, help="training batches of 4096 rows")
    parser.add_argument("--cgroup", action="store_true", help="let the kernel enforce the limit, cached pages included")
    parser.add_argument("--folder", default=None, help="where the temporary folder is made")
    given = parser.parse_args()
    limit = int(given.limit_gb * 1e9)
    with (
        memory_cgroup(limit) if given.cgroup else nullcontext() as cgroup,
        tempfile.TemporaryDirectory(dir=given.folder) as folder,
    ):
        context = {"project_slug": "table_project", "task": "regression", "logger": "csv"}
        project = Path(
            cookiecutter(
                str(REPO),
                no_input=True,
                extra_context=context,
                output_dir=folder,
                accept_hooks=False,
                default_config=True,
            )
        )
        small = Path(folder, "small.parquet")
        write_table(small, 50_000_000, given.features)
        in_memory, from_disk = (
            fit(project, small, float("inf"), "--data.max_memory_mb", megabytes) for megabytes in ("2000", "0")
        )
        same = in_memory["losses"] == from_disk["losses"] and len(in_memory["losses"]) > 0
        table = Path(folder, "large.parquet")
        rows = write_table(table, int(given.gigabytes * 1e9), given.features)
        batches = ["--trainer.limit_train_batches", str(given.batches), "--trainer.limit_val_batches", "20"]
        drop_cached(table)
        measured = fit(project, table, limit, *batches, cgroup=cgroup)
        held = {"peak of the cgroup, bytes": peak_of(cgroup)} if cgroup else {}
        steps = {
            step["step"]: {
                "seconds": round(step["seconds"], 1),
                "rows/s": round(step.get("rows", rows) / step["seconds"]),
                "peak MB": round(step["peak"] / 1e6),
            }
            for step in measured["steps"]
        }
        printed = {
            "small table: losses from disk are those in memory": same,
            "file, MB": round(table.stat().st_size / 1e6),
            "rows": rows,
            "limit, MB": round(given.limit_gb * 1e3),
            "exit status": measured["exit status"],
            "peak of anonymous memory, MB": round(measured["peak"] / 1e6),
            **held,
            "steps": steps,
        }
        print(json.dumps(printed, indent=1))
    sys.exit(not same or measured["exit status"])


if __name__ == "__main__":
    main()
