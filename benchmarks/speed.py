"""How fast the rendered projects are, side by side with other ways to do the same.

    python benchmarks/speed.py                        # everything: writes speed.json and docs/speed.png
    python benchmarks/speed.py --only regression      # one case, or several; writes nothing without --output
    python benchmarks/speed.py --short                # does it all run? A report for CI
    python benchmarks/speed.py --record               # and let the result be the floor of later runs
    python benchmarks/speed.py --table                # README.md from speed.json; measures nothing

The programs of a case run in alternation, each in a child process and in a terminal. It exits with 1 if losses differ,
or if a ratio is worse than its floor by more than its spread. On a machine with an accelerator, all programs use it.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import page
from cases import Case, Cases
from measure import HERE, REPO, Run, alternate, ratios

RESULT = HERE / "speed.json"
FLOORS = HERE / "floors.json"
PICTURE = REPO / "docs" / "speed.png"
PAGE = HERE / "README.md"
CLOCK = "wall"  # what goals and floors are about


def measure(case: Case, rounds: int, short: bool) -> dict[str, Any]:
    """Run the programs of a case.

    Returns:
        What speed.json holds of it.
    """
    if not case.same_batches and case.tolerance is None:
        for side in case.sides.values():
            side()  # writes byte code, and brings files into memory
    result: dict[str, Any] = {"title": case.title, "how": case.how, "goal": case.goal, "goal_is": case.goal_is}
    if case.same_batches:
        one, other = (side() for side in case.same_batches)
        result["same_batches"] = {"losses": [one.loss, other.loss], "steps": [one.steps, other.steps]}
    runs = alternate(case.sides, rounds, case.keep_order)
    result["sides"] = {name: _summary(each) for name, each in runs.items()}
    result["ratios"] = {name: ratios(runs[one], runs[other]) for name, (one, other) in case.ratios.items()}
    if case.tolerance is not None and not short:  # few epochs end anywhere
        result["tolerance"] = case.tolerance
    return result


def _summary(runs: list[Run]) -> dict[str, Any]:
    seconds = {clock: round(statistics.median(getattr(run, clock) for run in runs), 3) for clock in ("wall", "cpu")}
    losses = [run.loss for run in runs if run.steps]
    return seconds | ({"loss": round(statistics.median(losses), 5), "steps": runs[0].steps} if losses else {})


def faults(result: dict[str, Any]) -> list[str]:
    """Say where the programs of a case did not do the same."""
    found = []
    if same := result.get("same_batches"):
        one, other = same["losses"]
        if not math.isclose(one, other, rel_tol=0.01) or len(set(same["steps"])) > 1:
            found.append(f"the same batches end at losses {one:.5f} and {other:.5f}")
    sides = [side for side in result["sides"].values() if "loss" in side]
    if len({side["steps"] for side in sides}) > 1:
        found.append(f"different numbers of steps: {', '.join(str(side['steps']) for side in sides)}")
    losses = [side["loss"] for side in sides]
    if not all(map(math.isfinite, losses)):
        found.append("a loss is not finite")
    elif losses and "tolerance" in result and max(losses) - min(losses) > result["tolerance"]:
        found.append(f"losses {', '.join(map(str, losses))} are more than {result['tolerance']} apart")
    return found


def below_floor(name: str, result: dict[str, Any], floors: dict[str, dict[str, float]]) -> str | None:
    """Say where the ratio of a case is worse than its floor by more than its spread."""
    ratio = next(iter(result["ratios"].values()))[CLOCK]
    median, spread = ratio["median"], ratio["spread"]
    least, most = floors["at least"].get(name, -math.inf), floors["at most"].get(name, math.inf)
    if median + spread < least:
        return f"{median} is below the floor of {least} by more than the spread of {spread}"
    if median - spread > most:
        return f"{median} is above the limit of {most} by more than the spread of {spread}"
    return None


def record(results: dict[str, Any], path: Path) -> None:
    """Let measured ratios be the floors; those of other cases stay."""
    floors = json.loads(path.read_text())
    for name, result in results.items():
        if not name.startswith("tricks_"):
            ratio = next(iter(result["ratios"].values()))[CLOCK]["median"]
            floors["at least" if result["goal_is"] == "least" else "at most"][name] = round(ratio, 3)
    path.write_text(json.dumps(floors, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """Name the machine and the versions."""
    import torch

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model na")
        ]
        cpu = names[0] if names else cpu
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    name = None
    if accelerator is not None:
        name = torch.cuda.get_device_name() if accelerator.type == "cuda" else accelerator.type
    git = ["git", "-C", str(REPO), "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", "1")),
        "accelerator": name,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": version("lightning"),
        "commit": commit or None,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def line(name: str, result: dict[str, Any]) -> str:
    """Put a case into a line for people."""
    parts = []
    for label, ratio in result["ratios"].items():
        wall, cpu = ratio["wall"], ratio["cpu"]
        parts.append(
            f"{label} {wall['median']:.2f} ({wall['least']:.2f} to {wall['greatest']:.2f}; cpu {cpu['median']:.2f})"
        )
    goal = f"; goal at {result['goal_is']} {result['goal']}" if result["goal"] else ""
    return f"{name}: {', '.join(parts)}{goal}"


def main() -> int:
    """Measure, report, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, help="runs of each program (default: 5, or 2 with --short)")
    parser.add_argument("--only", choices=Cases.NAMES, action="append", help="a case; may be given several times")
    parser.add_argument("--short", action="store_true", help="two epochs at most; no time is a failure")
    parser.add_argument("--record", action="store_true", help="let the measured ratios be the floors")
    parser.add_argument("--table", action="store_true", help="write the tables of README.md from speed.json")
    parser.add_argument("--output", type=Path, help="JSON file to write (default: speed.json, if all is measured)")
    parser.add_argument("--floors", type=Path, default=FLOORS, help="JSON file of floors")
    args = parser.parse_args()
    if args.table:
        page.write(RESULT, PAGE, PICTURE)
        return 0
    whole = not (args.only or args.short)
    output = args.output or (RESULT if whole else None)
    rounds = args.pairs or (2 if args.short else 5)

    results: dict[str, Any] = {}
    wrong = []
    floors = json.loads(args.floors.read_text())
    with tempfile.TemporaryDirectory(prefix="speed-", ignore_cleanup_errors=True) as folder:
        cases = Cases(Path(folder), args.short)
        for name in args.only or Cases.NAMES:
            results[name] = result = measure(cases.make(name), rounds, args.short)
            print(line(name, result), flush=True)
            found = faults(result)
            if not args.record and (worse := below_floor(name, result, floors)):
                found += [] if args.short else [worse]
            wrong += [f"{name}: {fault}" for fault in found]
            if output:
                content = {"machine": machine(), "pairs": rounds, "short": args.short, "cases": results}
                output.write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(machine()))
    if args.record:
        record(results, args.floors)
    if whole:
        page.write(RESULT, PAGE, PICTURE)
    for fault in wrong:
        print(fault, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
