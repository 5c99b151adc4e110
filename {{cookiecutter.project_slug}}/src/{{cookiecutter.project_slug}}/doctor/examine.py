"""Put together all that `doctor` looks at, and print it."""

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from ..engine import console
from ..engine.comparison import table_console
from . import machine, plan
from .findings import Finding, as_json, print_findings
from .launcher import check_agreement, check_launcher
from .loading import check_loading
from .project import Measured, Project, parse, try_steps


def examine(options: Sequence[str], json: bool, counts: Sequence[int], assumed: Sequence[float | None]) -> int:
    """Print what was found, and return the exit status.

    Args:
        options: Those of `fit`.
        json: Whether to print JSON.
        counts: Numbers of devices to plan for.
        assumed: Memory of a device in GB, days between failures and GB per second of writing, where they are given.
    """
    console.set_up()
    project, failure = parse(options)  # first, since a misspelled option ends it
    with nullcontext() if json else table_console().status("measuring for a few seconds"):
        cores, memory = machine.read_cores(), machine.read_memory()
        findings = [*machine.versions(), *machine.devices(cores, memory)]
        findings += check_launcher(os.environ, cores.usable, machine.count_gpus())
        findings += machine.limits()
        measured = None
        if failure or project is None:
            findings += [failure] if failure else []
        else:
            measured, found = _try(project, memory.available)
            findings += found
        if project and measured:
            findings += check_loading(measured, cores)
            findings.append(machine.disk(Path(project.root), measured.sizes.checkpoint))
        if project and measured and counts:
            scale = plan.Plan(measured, counts, plan.assume(Path(project.root), *assumed))
        else:
            scale = None
    if json:
        print(as_json(findings, scale.as_plain() if scale else None))
    else:
        print_findings(findings, scale.tables() if scale else (), scale.notes() if scale else ())
    fatal = [finding for finding in findings if finding.fatal]
    for finding in fatal:
        print(f"error: {finding.what}: {finding.found}; {finding.do}", file=sys.stderr)
    return 1 if fatal else 0


def _try(project: Project, available: int | None) -> tuple[Measured | None, list[Finding]]:
    """Check the settings of the trainer, and train for a few steps."""
    settings = project.settings
    accelerator = machine.accelerator(str(settings["accelerator"]), str(settings["precision"]))
    findings = [*check_agreement(settings["num_nodes"], settings["devices"]), accelerator]
    findings.append(machine.precisions(str(settings["precision"])))
    here = machine.overlay() if accelerator.fatal else str(settings["accelerator"])
    measured, failure = try_steps(project, here, available)
    if measured:
        findings += plan.summary(measured, available)
    return measured, [*findings, *([failure] if failure else [])]
