"""Train, then test the best checkpoint, in one process: what to import takes longer than many a test.

It is the child of `repeats.py`, or a task of a job array, which resumes where it was interrupted. The arguments are the
run's folder and the options of `fit`.
"""

import sys
from pathlib import Path

import yaml

from ..engine.results import read_config
from ..train import main as run
from .repeats import is_trained


def main() -> None:
    """Run `fit`, unless it has finished before, and `test`."""
    folder, options = Path(sys.argv[1]), sys.argv[2:]
    if not is_trained(folder):
        own = ["--trainer.default_root_dir", str(folder.parent), "--name", folder.name]
        run(["fit", *options, *own, "--ckpt_path", "auto"])
    run(["test", *_trainer_options(folder), "--ckpt_path", str(folder / "checkpoints" / "best.ckpt")])


def _trainer_options(folder: Path) -> list[str]:
    """Evaluate as it was trained: same device, precision and limits. The model and the data are in the checkpoint."""
    config = read_config(folder)
    trainer = {name: value for name, value in config["trainer"].items() if name not in ("callbacks", "logger")}
    return ["--config", yaml.safe_dump({"trainer": trainer, "matmul_precision": config["matmul_precision"]})]


if __name__ == "__main__":
    main()
