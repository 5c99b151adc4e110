"""What exact resume costs: `fit` with and without everything that makes a killed run resumable.

    python benchmarks/resume_cost.py --pairs 5

It renders a project of every task and trains it by its own `fit` in a child process, alternately as shipped and without
the replay of batches and random numbers, last.ckpt during the epochs, durable writes, the watch over the loss, and
signal handlers. The time is that between the first and the last step, validation and saving included: of the clock, and
of the processor. It prints a line of JSON per task: the medians in seconds, and the median, least and greatest ratio
over the pairs; 1.02 is 2 % slower.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from cookiecutter.main import cookiecutter

REPO = Path(__file__).parents[1]
OPTIONS = {  # long enough to be measured, and with more than one save
    "regression": ["--trainer.max_epochs", "150"],
    "classification": ["--trainer.max_epochs", "100"],
    "image_classification": ["--trainer.max_epochs", "6"],
    "language_model": ["--config", "configs/smoke.yaml", "--trainer.max_epochs", "3"],
}
CHILD = """
import sys, time
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback
from cost_project import train
from cost_project.engine import cli
from cost_project.module import LitModel

class Nothing(Callback):
    def __init__(self, *args):
        pass

mode, *sys.argv[1:] = sys.argv[1:]
if mode == "without":
    cli.Replay = cli.Health = cli.StopOnSignal = Nothing
    cli.DurableCheckpointIO = TorchCheckpointIO

def start(self):
    self.began = time.perf_counter(), time.process_time()

def end(self):
    print("seconds", time.perf_counter() - self.began[0], time.process_time() - self.began[1])

LitModel.on_train_start, LitModel.on_train_end = start, end
train.main()
"""


def seconds(project: Path, mode: str, options: list[str]) -> list[float]:
    """Train in a child process; return the seconds between the first and the last step, of clock and processor."""
    command = [sys.executable, "-c", CHILD, mode, "fit", "--trainer.accelerator", "cpu", *options]
    environment = os.environ | {"PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(result.stderr[-3000:])
    [line] = [line for line in result.stdout.splitlines() if line.startswith("seconds ")]
    return [float(number) for number in line.split()[1:]]


def main() -> None:
    """Measure every task, and print a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--task", choices=OPTIONS, action="append", help="by default all of them")
    given = parser.parse_args()
    for task in given.task or OPTIONS:
        with tempfile.TemporaryDirectory() as folder:
            context = {"project_slug": "cost_project", "task": task, "logger": "csv"}
            made = cookiecutter(
                str(REPO),
                no_input=True,
                extra_context=context,
                output_dir=folder,
                accept_hooks=False,
                default_config=True,
            )
            times: dict[str, list[list[float]]] = {"with": [], "without": []}
            for pair in range(given.pairs):
                for mode in sorted(times, reverse=bool(pair % 2)):  # each goes first as often as the other
                    times[mode].append(seconds(Path(made), mode, OPTIONS[task]))
        result: dict[str, object] = {"task": task}
        for number, clock in enumerate(("clock", "processor")):
            pairs = zip(times["with"], times["without"], strict=True)
            ratios = sorted(one[number] / other[number] for one, other in pairs)
            medians = {mode: round(statistics.median(run[number] for run in runs), 2) for mode, runs in times.items()}
            spread = [round(ratio, 3) for ratio in (statistics.median(ratios), ratios[0], ratios[-1])]
            result[clock] = {"seconds": medians, "ratio, least, greatest": spread}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
