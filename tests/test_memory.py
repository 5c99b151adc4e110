"""A table that is trained from disk takes little memory, and gives the same losses as in memory."""

import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import REPO, Render, load_script

BENCHMARK: Any = load_script(REPO / "benchmarks" / "table_memory.py")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_training_from_disk_takes_less_memory_and_gives_the_same_losses(render: Render, tmp_path: Path) -> None:
    project = render(project_slug="table_project", task="regression", logger="csv")
    table = tmp_path / "table.parquet"
    BENCHMARK.write_table(table, 200_000_000)
    few = ["--trainer.limit_train_batches", "20", "--trainer.limit_val_batches", "2"]
    runs = [
        BENCHMARK.fit(project, table, float("inf"), "--data.max_memory_mb", megabytes, *few)
        for megabytes in ("2000", "0")
    ]
    assert [run["exit status"] for run in runs] == [0, 0]
    in_memory, from_disk = ([run["losses"], run["peak"] - run["steps"][0]["peak"]] for run in runs)
    assert in_memory[0] == from_disk[0]
    assert len(from_disk[0]) == 20
    assert from_disk[1] < in_memory[1] < 400e6  # bytes above the imports
