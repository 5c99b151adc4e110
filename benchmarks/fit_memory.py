"""Peak memory of `fit` on a table that is trained in memory, beside the size of its encoded features.

    python benchmarks/fit_memory.py --folder /tmp
    python benchmarks/fit_memory.py --task classification

It renders a project, writes a million rows of random features into a temporary folder, as CSV and as Parquet, and
trains on them for an epoch by the documented command. Half of the tables hold numbers only, the others also categories.
For each it prints a line of JSON: the peak memory (`VmHWM` of /proc) above that of the same command on 200 of the rows,
and its ratio to the encoded features as float32, of rows x columns x 4 bytes. Linux only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from cookiecutter.main import cookiecutter

REPO = Path(__file__).parents[1]
NUMBERS = 20  # columns
LEVELS = (2, 3, 5, 8, 12, 30)  # categories by column, in place of as many columns of numbers
CHILD = """
import atexit, sys
from pathlib import Path

peak, *sys.argv[1:] = sys.argv[1:]

@atexit.register
def write_peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    Path(peak).write_text(next(line.split()[1] for line in lines if line.startswith("VmHWM")))

from fit_project import train
train.main()
"""


def make_table(rows: int, levels: tuple[int, ...], task: str) -> pl.DataFrame:
    """Make random features, and a target that depends on the numbers."""
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, NUMBERS - len(levels)))
    y = x.sum(axis=1) + random.standard_normal(rows)
    frame = pl.from_numpy(x, [f"x{number}" for number in range(x.shape[1])])
    codes = {f"c{number}": random.integers(count, size=rows) for number, count in enumerate(levels)}
    names = [(pl.lit("category ") + pl.Series(name, code).cast(pl.String)).alias(name) for name, code in codes.items()]
    return frame.with_columns(*names, y=np.where(y > 0, "yes", "no") if task == "classification" else y)


def peak_of_fit(project: Path, table: Path, *options: str) -> int:
    """Train in a child process; return its peak memory in bytes."""
    peak = table.with_name("peak")
    command = [sys.executable, "-c", CHILD, str(peak), "fit", "--data.path", str(table), "--data.target", "y"]
    command += ["--data.batch_size", "4096", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", *options]
    environment = os.environ | {"PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"}
    child = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    if child.returncode:
        sys.exit(child.stderr[-3000:])
    return int(peak.read_text()) * 1024


def main() -> None:
    """Measure every table, and print a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--task", choices=["regression", "classification"], default="regression")
    parser.add_argument("--folder", default=None, help="where the temporary folder is made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        context = {"project_slug": "fit_project", "task": given.task, "logger": "csv"}
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
        for kind, levels in (("numbers", ()), ("numbers and categories", LEVELS)):
            frame = make_table(given.rows, levels, given.task)
            hot = sum(levels) if given.task == "regression" else len(levels)  # one-hot, or a code
            encoded = given.rows * (NUMBERS - len(levels) + hot) * 4
            for suffix, write in ((".csv", pl.DataFrame.write_csv), (".parquet", pl.DataFrame.write_parquet)):
                small, large = Path(folder, f"small{suffix}"), Path(folder, f"large{suffix}")
                write(frame.head(200), small)
                write(frame, large)
                imported = peak_of_fit(project, small)
                began = time.perf_counter()
                added = peak_of_fit(project, large) - imported
                measured = {
                    "task": given.task,
                    "table": f"{kind}{suffix}",
                    "file, MB": round(large.stat().st_size / 1e6),
                    "encoded, MB": round(encoded / 1e6),
                    "added peak, MB": round(added / 1e6),
                    "ratio": round(added / encoded, 2),
                    "seconds": round(time.perf_counter() - began, 1),
                }
                print(json.dumps(measured), flush=True)


if __name__ == "__main__":
    main()
