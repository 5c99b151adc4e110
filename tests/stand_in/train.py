"""A stand-in for `fit` that takes a fraction of a second: its loss depends on the learning rate alone.

`sweep` starts it as it starts the real one. A learning rate of 1 or more crashes.
"""

import sys
import time
from itertools import pairwise
from pathlib import Path


def main() -> None:
    """Write metrics.csv, an epoch at a time."""
    _, *args = sys.argv[1:]
    lr = next(float(arg.partition("=")[2]) for arg in args if arg.startswith("--model.lr="))
    seconds = float([value for name, value in pairwise(args) if name == "--seconds"][-1])
    folder = Path(args[args.index("--trainer.default_root_dir") + 1], args[args.index("--name") + 1])
    folder.mkdir()
    with Path("lrs.txt").open("a") as file:
        file.write(f"{folder.name} {lr}\n")
    if lr >= 1:
        raise RuntimeError("diverged on purpose")
    with (folder / "metrics.csv").open("w", buffering=1) as file:
        file.write("step,val_loss\n0,100\n")
        for epoch in range(1, 11):
            time.sleep(seconds / 10)
            file.write(f"{epoch},{lr + 1 / epoch}\n")


if __name__ == "__main__":
    main()
