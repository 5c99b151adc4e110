"""Does the cost of a row, a logged metric or an epoch stay the same when there are 100 times as many?

    python benchmarks/scaling.py                  # everything, about 5 minutes: the JSON, the table, the picture
    python benchmarks/scaling.py --only metrics   # or rows, or epochs; writes nothing without --output
    python benchmarks/scaling.py --short          # does it all run? Two small sizes of each, once
    python benchmarks/scaling.py --table          # README.md and the picture from scaling.json; measures nothing

A rendered regression project is trained by its own command, each size in a child process and a terminal, all sizes in
alternation. Of equal runs the fastest counts. The exponent is the slope of a straight line through the logarithms of
total time against size, by least squares and with nothing subtracted: 1 is a constant cost per unit, and fixed costs
make it less. `tail` is the exponent between the two greatest sizes, where fixed costs matter least. The program exits
with 1 if an exponent of CPU time is above 1.05.
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import page
from cases import Cases
from measure import CLOCKS, HERE, REPO, Program, alternate, fit, paths
from speed import machine

RESULT = HERE / "scaling.json"
PICTURE = REPO / "docs" / "scaling.png"
PAGE = HERE / "README.md"
GOAL = 1.05
SIZES = {
    "rows": (2_000, 10_000, 50_000, 200_000),
    "metrics": (1, 5, 20, 100),
    "epochs": (3, 15, 60, 300),
}
EPOCHS = {"rows": 10, "metrics": 20}  # of one run
FEW_ROWS = 200  # so that an epoch is short, and what comes with every epoch is most of it
# A user's model that logs many metrics, in a file of its own
MODEL = """
from lightning.pytorch import LightningModule
from torch import nn, optim


class Model(LightningModule):
    def __init__(self, metrics: int = 1):
        super().__init__()
        self.metrics = metrics
        self.layer = nn.Linear(10, 1)

    def training_step(self, batch, batch_idx):
        return self._step(batch, "train")

    def validation_step(self, batch, batch_idx):
        return self._step(batch, "val")

    def _step(self, batch, stage):
        x, y = batch
        loss = nn.functional.mse_loss(self.layer(x), y)
        self.log(f"{stage}_loss", loss)
        for number in range(1, self.metrics):
            self.log(f"{stage}_metric{number}", loss)
        return loss

    def configure_optimizers(self):
        return optim.SGD(self.parameters(), lr=0.01)
"""


class Measure(NamedTuple):
    """What is measured at every size.

    Args:
        size: What grows; a key of `SIZES`.
        title: What takes the time.
        unit: Of the cost of one row, metric or epoch.
        per_second: Units of it in a second.
    """

    size: str
    title: str
    unit: str
    per_second: float


MEASURES = {
    "rows_loading": Measure("rows", "loading a table", "µs per row", 1e6),
    "rows_epoch": Measure("rows", "an epoch, batch 256", "µs per row", 1e6),
    "rows_after": Measure("rows", "after the last epoch", "µs per row", 1e6),
    "metrics_step": Measure("metrics", "a step that logs metrics", "µs per metric", 1e6),
    "metrics_after": Measure("metrics", "after the last epoch", "µs per metric", 1e6),
    "epochs_training": Measure("epochs", "all epochs", "ms per epoch", 1e3),
    "epochs_after": Measure("epochs", "after the last epoch", "ms per epoch", 1e3),
}


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the slope of log(seconds) over log(size), by least squares."""
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(each) for each in seconds]).slope


def programs(cases: Cases, folder: Path) -> dict[str, Callable[[int], Program]]:
    """Return what trains with a number of rows, metrics or epochs."""
    project = cases.project("regression")
    (folder / "own.py").write_text(MODEL)

    def train(*options: str) -> Program:
        program = fit(project, *options, "--trainer.devices", "1", timer="phases.Phases")
        path = os.pathsep.join([program.environment["PYTHONPATH"], str(folder)])  # where own.py is
        return program._replace(environment={**program.environment, "PYTHONPATH": path})

    def table(rows: int, batch_size: int) -> tuple[str, ...]:
        return "--data.path", str(cases.table(rows)), "--data.target", "y", "--data.batch_size", str(batch_size)

    return {
        "rows": lambda n: train(*table(n, 256), "--trainer.max_epochs", str(EPOCHS["rows"])),
        "metrics": lambda n: train(
            *("--model", "own.Model", "--model.metrics", str(n), "--trainer.max_epochs", str(EPOCHS["metrics"]))
        ),
        "epochs": lambda n: train(*table(FEW_ROWS, 32), "--trainer.max_epochs", str(n)),
    }


def totals(size: str, run: dict[str, Any], clock: str) -> dict[str, float]:
    """Return seconds by measure of a run of one size."""
    training = sum(epoch[clock] for epoch in run["epochs"])
    after = run["after"][clock]
    match size:
        case "rows":
            return {"rows_epoch": training / EPOCHS["rows"], "rows_after": after}
        case "metrics":
            return {"metrics_step": training / run["steps"], "metrics_after": after}
        case _:
            return {"epochs_training": training, "epochs_after": after}


def measure(kinds: Sequence[str], sizes: dict[str, Sequence[int]], rounds: int) -> dict[str, Any]:
    """Run all sizes in alternation.

    Returns:
        `measures` and `tenths` of scaling.json.
    """
    seconds: dict[str, dict[str, list[float]]] = {}  # by measure and clock, for every size
    content: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="scaling-", ignore_cleanup_errors=True) as name:
        cases = Cases(Path(name))
        if "rows" in kinds:
            command = [sys.executable, HERE / "loading.py", str(rounds), *map(cases.table, sizes["rows"])]
            environment = {**paths(cases.project("regression")), "POLARS_MAX_THREADS": "1"}
            loads = Program(command, Path(name), environment).result()
            seconds["rows_loading"] = {
                clock: [min(load[clock] for load in table) for table in loads] for clock in CLOCKS
            }
        make = programs(cases, Path(name))
        sides = {f"{kind} {n}": partial(Program.result, make[kind](n)) for kind in kinds for n in sizes[kind]}
        runs = alternate(sides, rounds)
        for kind in kinds:
            for clock in CLOCKS:
                for n in sizes[kind]:
                    equal = [totals(kind, run, clock) for run in runs[f"{kind} {n}"]]
                    for key in equal[0]:
                        seconds.setdefault(key, {}).setdefault(clock, []).append(min(each[key] for each in equal))
        if "epochs" in kinds and (most := sizes["epochs"][-1]) >= 10:
            content["tenths"] = {clock: tenths(runs[f"epochs {most}"], clock) for clock in CLOCKS}
    return {"measures": {key: summary(key, sizes, seconds[key]) for key in MEASURES if key in seconds}, **content}


def summary(key: str, sizes: dict[str, Sequence[int]], seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Return what scaling.json holds of a measure."""
    size, title, unit, per_second = MEASURES[key]
    n = sizes[size]
    clocks = {
        clock: {
            "exponent": round(exponent(n, times), 3),
            "tail": round(exponent(n[-2:], times[-2:]), 3),
            "seconds": [round(time, 6) for time in times],
            "cost": [float(f"{per_second * time / each:.3g}") for each, time in zip(n, times, strict=True)],
        }
        for clock, times in seconds.items()
    }
    return {"size": size, "title": title, "sizes": list(n), "unit": unit, **clocks}


def tenths(runs: Sequence[dict[str, Any]], clock: str) -> list[float]:
    """Return the milliseconds of an epoch in every tenth of a run; of equal runs, the fastest at every epoch."""
    epochs = [min(epoch[clock] for epoch in equal) for equal in zip(*(run["epochs"] for run in runs), strict=True)]
    length = len(epochs) // 10
    return [round(1000 * statistics.mean(epochs[tenth * length :][:length]), 2) for tenth in range(10)]


def table(content: dict[str, Any]) -> str:
    """Tabulate what scaling.json holds."""
    lines = [
        f"{page.measured(content['machine'])} CPU time, the least of {content['rounds']} runs of each size, all sizes "
        f"in alternation. Exponent of total time against size; the goal is at most {GOAL}.",
        "",
        "| what grows | what takes the time | cost from the least to the greatest size | exponent | of the last two |",
        "|---|---|---|---|---|",
    ]
    for found in content["measures"].values():
        sizes, cpu = found["sizes"], found["cpu"]
        cost = ", ".join(f"{each:,.6g}" for each in cpu["cost"])
        grows = f"{found['size']}: {sizes[0]:,} to {sizes[-1]:,}"
        exponents = f"{cpu['exponent']:.2f} | {cpu['tail']:.2f}"
        lines.append(f"| {grows} | {found['title']} | {cost} {found['unit']} | {exponents} |")
    epochs = content["measures"]["epochs_training"]["sizes"][-1]
    each = ", ".join(f"{time:.1f}" for time in content["tenths"]["cpu"])
    lines += ["", f"An epoch of the run of {epochs} epochs, by tenths of the run: {each} ms of CPU time."]
    return "\n".join(lines) + "\n"


def draw(content: dict[str, Any], picture: Path) -> None:
    """Draw the cost of a row, a metric and an epoch against their number."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, size in zip(figure.subplots(1, len(SIZES)), SIZES, strict=True):
        found = [each for each in content["measures"].values() if each["size"] == size]
        for each, form in zip(found, ("o-", "s--", "d:"), strict=False):
            label = f"{each['title']}: {each['cpu']['exponent']:.2f}"
            axes.plot(each["sizes"], each["cpu"]["cost"], form, label=label)
        axes.set(xscale="log", yscale="log", xlabel=f"number of {size}", ylabel=f"CPU time, {found[0]['unit']}")
        axes.legend(
            title="exponent of total time", loc="lower left", bbox_to_anchor=(0, 1), alignment="left", frameon=False
        )
        axes.grid(alpha=0.3, which="both")
    figure.savefig(picture, dpi=150)


def write(result: Path) -> None:
    """Write the table of README.md and the picture from scaling.json."""
    content = json.loads(result.read_text())
    page.insert(PAGE, result.name, table(content))
    draw(content, PICTURE)


def main() -> int:
    """Measure, report, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="runs of each size (default: 2, or 1 with --short)")
    parser.add_argument("--only", choices=SIZES, action="append", help="what grows; may be given several times")
    parser.add_argument("--short", action="store_true", help="the two smallest sizes; no exponent is a failure")
    parser.add_argument("--table", action="store_true", help="write README.md and the picture from scaling.json")
    parser.add_argument("--output", type=Path, help="JSON file to write (default: scaling.json, if all is measured)")
    args = parser.parse_args()
    if args.table:
        write(RESULT)
        return 0
    whole = not (args.only or args.short)
    rounds = args.rounds or (1 if args.short else 2)
    sizes = {size: numbers[:2] if args.short else numbers for size, numbers in SIZES.items()}
    content = {"machine": machine(), "rounds": rounds, **measure(args.only or [*SIZES], sizes, rounds)}
    for name, found in content["measures"].items():
        print(json.dumps({"measure": name, **found}, ensure_ascii=False))
    if found := content.get("tenths"):
        print(json.dumps({"measure": "tenths of the longest run", "unit": "ms per epoch", **found}))
    if output := args.output or (RESULT if whole else None):
        output.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    if whole:
        write(RESULT)
    above = [name for name, found in content["measures"].items() if found["cpu"]["exponent"] > GOAL]
    for name in above:
        print(f"{name}: the exponent is above {GOAL}", file=sys.stderr)
    return 1 if above and not args.short else 0


if __name__ == "__main__":
    sys.exit(main())
