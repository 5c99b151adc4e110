"""run.json: what ran, when, on what, with which code, data and versions, and how it ended.

The top level holds the facts of the run, `sessions` each process that trained it: `fit --ckpt_path last` adds one, and
says in `changed` which facts it found different. This file reads and writes without PyTorch, so that it starts fast.
"""

import json
import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

FILE = "run.json"


def read_record(folder: Path) -> dict[str, Any]:
    """Read run.json; empty for a run without one, or with a damaged one."""
    with suppress(OSError, ValueError):
        record: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return record
    return {}


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write run.json as a whole."""
    write_whole(folder / FILE, json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file as a whole: whoever reads it meanwhile sees the one before."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def remove_if_unused(folder: Path) -> None:
    """Remove the folder of a run that wrote nothing but run.json."""
    with suppress(OSError):
        if {path.name for path in folder.iterdir()} <= {FILE}:
            (folder / FILE).unlink(missing_ok=True)
            folder.rmdir()


def status_of(record: dict[str, Any]) -> str:
    """Return the status of a run: "finished", "failed", "stopped", "running" or "killed".

    A killed process cannot write that it was: its record says "running", but the process is gone. That shows only on
    its own machine, and not on Windows.
    """
    status: str = record.get("status", "")
    last = (record.get("sessions") or [{}])[-1]
    here = last.get("host") == platform.node() and last.get("process_started") is not None
    if status == "running" and here and process_start(last["pid"]) != last["process_started"]:
        return "killed"
    return status


def process_start(pid: int) -> str | None:
    """Tell when a process started, in the words of its system; None if there is no such process, or on Windows.

    Numbers of processes are used again, so a number alone does not identify one.
    """
    with suppress(OSError):
        if Path("/proc/self/stat").exists():  # minimal containers have no `ps`
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return None


def git(*arguments: str) -> str | None:
    """Return what a git command prints; None if it fails, or there is no git."""
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout
    return None


def flatten(value: Any, name: str = "") -> dict[str, Any]:
    """Turn nested facts into one level of dotted names; lists of plain values stay whole."""
    if isinstance(value, dict) and value:
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        items = list(enumerate(value))
    else:
        return {name: value} if name else {}
    prefix = f"{name}." if name else ""
    return {key: leaf for part, item in items for key, leaf in flatten(item, f"{prefix}{part}").items()}


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what differs between nested facts, by dotted name; None for what one of them lacks."""
    first, second = flatten(one), flatten(other)
    pairs = {name: (first.get(name), second.get(name)) for name in first | second}
    return {name: (left, right) for name, (left, right) in pairs.items() if left != right}
