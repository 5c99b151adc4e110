"""`compare`: all runs by a metric, or what differs between two."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import FIRST, QUICK

from {{ cookiecutter.project_slug }}.compare import main as compare
from {{ cookiecutter.project_slug }}.engine.record import read_record, write_record
from {{ cookiecutter.project_slug }}.train import main

pytestmark = pytest.mark.slow  # it changes with the engine or with Lightning


def _printed(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    capsys.readouterr()
    compare(list(args))
    return capsys.readouterr().out


def _row(table: str, name: str) -> list[str]:
    [line] = [line for line in table.splitlines() if line.split()[:1] == [name]]
    return line.split()


def _record(folder: Path, **changed: Any) -> dict[str, Any]:
    """Change run.json, and return it; the project may or may not be in a repository."""
    record = read_record(folder) | {"git": None} | changed
    write_record(folder, record)
    return record


def _by_hand(name: str, *losses: float, monitor: str = "val_loss", mode: str = "min") -> Path:
    """Make a run without run.json."""
    folder = Path("runs", name)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"best_checkpoint:\n  monitor: {monitor}\n  mode: {mode}\n")
    rows = [f"{10 * number},{loss}" for number, loss in enumerate(losses)]
    (folder / "metrics.csv").write_text("\n".join([f"step,{monitor}", *rows]) + "\n")
    return folder


def test_runs_are_listed_with_the_best_first(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _by_hand("worst", 9000.0, 8000.0, 8500.0)
    _by_hand("best", -3.0, -2.0, -1.0)  # its untrained model does not count
    (_by_hand("unfinished") / "metrics.csv").unlink()
    record = _record(trained, git={"commit": "abcdef1234", "dirty": True})
    table = _printed(capsys)
    assert [line.split()[0] for line in table.splitlines()[3:7]] == ["best", "first", "worst", "unfinished"]
    assert "finished" in _row(table, "first")
    assert "1/6" in _row(table, "first")
    assert str(record["parameters"]["all"]) in _row(table, "first")
    assert _row(table, "first")[-1] == "abcdef1*"
    assert _row(table, "best")[1:] == ["-", "-/20", "-", "-2"]
    assert _row(table, "worst")[-1] == "8000"
    assert max(map(len, table.splitlines())) <= 80


def test_metric_and_its_direction_can_be_chosen(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _by_hand("low", 0.1, 0.2, monitor="val_accuracy", mode="max")
    _by_hand("high", 0.1, 0.9, 0.8, monitor="val_accuracy", mode="max")
    test = Path("runs/low/metrics-test.csv")
    test.write_text("epoch,step,test_loss\n0,5,0.25\n")
    assert _printed(capsys).index("high") < _printed(capsys).index("low")
    assert _row(_printed(capsys, "--by", "test_loss", "--mode", "min"), "low")[-1] == "0.25"
    for args, wrong in (
        (["--by", "test_loss"], "--by test_loss: no run monitors it, so say which value is best with --mode"),
        (["--by", "typo", "--mode", "min"], "--by typo: no run logged it"),
        (["low"], "name two runs"),
        (["low", "typo"], "typo: no such run; runs has low, high"),
        (["--root", "elsewhere"], "no run in elsewhere yet"),
    ):
        with pytest.raises(SystemExit, match=f"error: {wrong}"):
            compare(args)
    with pytest.raises(SystemExit):
        compare(["--mood", "min"])
    assert capsys.readouterr().err == "error: unrecognized arguments: --mood (--help lists the options)\n"


def test_killed_run_is_shown_as_killed(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [session] = read_record(trained)["sessions"]
    if session["process_started"] is None:
        pytest.skip("this system does not tell when a process started")
    session |= {"process_started": "another process has its number now", "ended": None, "seconds": None}
    _record(trained, status="running", sessions=[session], ended=None, seconds=0, epochs=None, steps=None)
    row = _row(_printed(capsys), "first")
    assert row[1] == "killed"
    epochs, steps = row[-3].split("/")
    assert epochs == "-"
    assert int(steps) > 0  # the last one that was logged


def test_two_runs_show_exactly_what_differs(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["fit", "--name", "second", *FIRST, "--model.lr", "0.5", "--trainer.logger", "false"])
    main(["test", *QUICK])
    _record(trained)
    second = _record(Path("runs/second"))
    printed = _printed(capsys, "first", "runs/second")
    lines = [line.split() for line in printed.splitlines()]
    config = lines[2 : lines.index(["code:", "not", "recorded", "in", "runs/first", "and", "runs/second"])]
    assert config == [["model.init_args.lr", "0.002", "0.5"]]
    assert [line for line in printed.splitlines() if line.endswith(": the same")] == [
        "data: the same",
        "versions: the same",
        "hardware: the same",
    ]
    assert "val_loss, at best.ckpt" in printed
    assert _row(printed, "test_loss")[1] == "-"

    second["data"]["sources"][0]["sha256"] = "0" * 64
    second["versions"]["torch"] = "1.0"
    _record(Path("runs/second"), **second)
    _record(trained, git={"commit": "a" * 40, "dirty": True})
    printed = _printed(capsys, "first", "second")
    assert _row(printed, "sources.0.sha256")[2].startswith("000")
    assert _row(printed, "torch")[2] == "1.0"
    assert "code: not recorded in runs/second" in printed


def test_same_run_twice_is_all_the_same(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _record(trained, git={"commit": "a" * 40, "dirty": True})
    assert _printed(capsys, "first", "first").splitlines() == [
        "config: the same",
        "code: the same",
        "code: both with changes that were not committed, which may differ",
        "data: the same",
        "versions: the same",
        "hardware: the same",
        "results: the same",
    ]


def test_runs_by_hand_can_be_compared(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _by_hand("one", 3.0, 2.0)
    _by_hand("other", 3.0, 1.0, 5.0)
    printed = _printed(capsys, "one", "other")
    assert "config: the same" in printed
    assert "data: not recorded in runs/one and runs/other" in printed
    assert [line.split()[-2:] for line in printed.splitlines() if "val_loss" in line] == [["2", "1"], ["2", "5"]]


def test_comparing_does_not_wait_for_pytorch() -> None:
    code = """
import sys
import {{ cookiecutter.project_slug }}.compare
print({"torch", "lightning"} & set(sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
