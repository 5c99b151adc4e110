"""Time how long the datamodule of a rendered project takes from a table to its dataloaders.

    python benchmarks/loading.py ROUNDS TABLE...

It loads the tables in alternation and writes a list of seconds for each.
"""

import json
import os
import sys
import time
from pathlib import Path

from speed_project.datamodule import LitDataModule
from stopwatch import RESULT


def load(path: str) -> dict[str, float]:
    """Load a table as `fit` does, and return the seconds it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    datamodule = LitDataModule(path=path, target="y", batch_size=256)
    datamodule.setup("fit")
    datamodule.train_dataloader(), datamodule.val_dataloader()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


if __name__ == "__main__":
    rounds, *tables = sys.argv[1:]
    load(tables[0])  # imports Polars
    seconds = [[load(path) for path in tables] for _ in range(int(rounds))]
    Path(os.environ[RESULT]).write_text(json.dumps(list(zip(*seconds, strict=True))))
