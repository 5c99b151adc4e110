"""Look at this machine, the launcher, the data and the model, and say what is wrong and how to mend it.

    python -m {{ cookiecutter.project_slug }}.doctor
    python -m {{ cookiecutter.project_slug }}.doctor --plan 8 64 1024

All other options are those of `fit`. It trains for a few steps and measures for a few seconds; nothing is left behind.
The exit status is 0 if a run can train here, and 1 if something makes that impossible.
"""

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ..engine.commands import CommandParser, errors_in_one_line
from ..engine.errors import InputError

GB = 10**9


def main(args: list[str] | None = None) -> None:
    """Print what was found.

    Args:
        args: The command line; by default that of the process.
    """
    parser = CommandParser(
        "Look at this machine, the launcher, the data and the model, and say what is wrong and how to mend it.",
        prog="doctor",
        epilog="All other options are those of `fit`: --data.path my.csv --config overlay.yaml.",
    )
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")
    parser.add_argument(
        "--plan",
        type=int,
        nargs="+",
        metavar="N",
        help="Also compute what training takes on N devices: memory and communication by strategy, checkpoints, epochs.",
    )
    about = "Memory of a device in GB (default: that of the GPU here, or 80)."
    parser.add_argument("--plan.memory", type=float, metavar="GB", help=about)
    about = "Mean days between failures of one device (default: 2111, as in Llama 3's training)."
    parser.add_argument("--plan.failure_days", type=float, metavar="DAYS", help=about)
    about = "Speed of writing a checkpoint in GB/s (default: measured in the folder of the runs)."
    parser.add_argument("--plan.write_speed", type=float, metavar="GB/S", help=about)
    given, options = parser.parse_known_args(args)
    try:
        with errors_in_one_line():
            _require_valid(given)
            sys.exit(_examine(given, options))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _require_valid(given: Namespace) -> None:
    """Check the options of the plan.

    Raises:
        InputError: If one is not above 0.
    """
    settings: dict[str, Any] = vars(given)
    for name in ("plan", "plan.memory", "plan.failure_days", "plan.write_speed"):
        values = settings[name] if isinstance(settings[name], list) else [settings[name]]
        if any(value is not None and not value > 0 for value in values):
            raise InputError(f"--{name} {' '.join(map(str, values))}: must be above 0")
        if name != "plan" and settings[name] is not None and not given.plan:
            raise InputError(f"--{name}: has no effect without --plan 8 64, the numbers of devices")


def _examine(given: Namespace, options: Sequence[str]) -> int:
    """Print what was found, and return the exit status."""
    from ..engine.startup import quick_imports

    with quick_imports():  # of PyTorch and Lightning, some seconds
        from ..engine import console
        from ..engine.comparison import table_console
        from . import loading, machine, plan
        from .findings import Finding, as_json, print_findings
        from .launcher import check_launcher
        from .project import parse, try_steps

    console.set_up()
    project, failure = parse(options)  # first, since a misspelled option ends it
    cores, memory = machine.read_cores(), machine.read_memory()
    findings = [*machine.versions(), *machine.devices(cores, memory)]
    findings += check_launcher(os.environ, cores.usable, machine.torch.cuda.device_count())
    findings += machine.limits()
    measured, tables, lines, content = None, [], [], None
    with table_console().status("measuring for a few seconds") if not given.json else nullcontext():
        if failure:
            findings.append(failure)
        if project:
            settings = project.settings
            accelerator = machine.accelerator(str(settings["accelerator"]), str(settings["precision"]))
            findings += [accelerator, machine.precisions(str(settings["precision"]))]
            here = machine.overlay() if accelerator.fatal else str(settings["accelerator"])
            measured, failure = try_steps(project, here)
            findings += [failure] if failure else []
        if project and measured:
            findings += plan.summary(measured, memory.available)
            findings += loading.check_loading(measured, cores)
            findings.append(machine.disk(Path(project.root), measured.sizes.checkpoint))
        if project and measured and given.plan:
            settings = vars(given)
            numbers = [settings[f"plan.{name}"] for name in ("memory", "failure_days", "write_speed")]
            assumed = plan.assume(Path(project.root), *numbers)
            tables = plan.tables(measured, given.plan, assumed)
            lines = plan.notes(measured, assumed)
            content = plan.as_plain(measured, given.plan, assumed)
    if given.json:
        print(as_json(findings, content))
    else:
        print_findings(findings, tables, lines)
    fatal = [finding for finding in findings if finding.fatal]
    for finding in fatal:
        print(f"error: {finding.what}: {finding.found}; {finding.do}", file=sys.stderr)
    return 1 if fatal else 0


if __name__ == "__main__":
    main()
