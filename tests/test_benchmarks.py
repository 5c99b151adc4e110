"""The benchmarks of speed and scaling: they run, compare what is the same, and notice what is worse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import REPO

SPEED = REPO / "benchmarks" / "speed.py"


def speed(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SPEED, *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_project_and_the_loop_by_hand_train_to_the_same_loss(tmp_path: Path) -> None:
    output = tmp_path / "speed.json"
    result = speed("--short", "--pairs", "1", "--only", "regression", "--output", output)
    assert result.returncode == 0, result.stderr
    case = json.loads(output.read_text())["cases"]["regression"]
    project, by_hand = case["same_batches"]["losses"]
    assert abs(project - by_hand) < 0.001 * by_hand
    assert {side["steps"] for side in case["sides"].values()} == {2 * 31}
    assert case["ratios"]["speed"]["wall"]["median"] > 0


def test_every_trick_can_be_put_back(tmp_path: Path) -> None:
    output = tmp_path / "speed.json"
    result = speed("--short", "--pairs", "1", "--only", "tricks_regression", "--output", output)
    assert result.returncode == 0, result.stderr
    case = json.loads(output.read_text())["cases"]["tricks_regression"]
    assert set(case["ratios"]) == {"loop", "log", "batches", "evaluation", "bar"}
    assert {side["steps"] for side in case["sides"].values()} == {2 * 31}


def test_a_ratio_below_its_floor_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    floors, output = tmp_path / "floors.json", tmp_path / "speed.json"
    floors.write_text(json.dumps({"at least": {}, "at most": {"help": 1e-9}}))
    result = speed("--pairs", "2", "--only", "help", "--floors", floors, "--output", output)
    assert result.returncode == 1, result.stderr
    assert "above the limit of 1e-09 by more than the spread" in result.stderr

    monkeypatch.syspath_prepend(str(SPEED.parent))
    from speed import below_floor

    measured = json.loads(output.read_text())["cases"]["help"]
    assert below_floor("help", measured, {"at least": {}, "at most": {"help": 1000.0}}) is None
    assert "below the floor" in str(below_floor("help", measured, {"at least": {"help": 1000.0}, "at most": {}}))


def test_the_tables_are_those_of_the_recorded_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SPEED.parent))
    import page

    recorded = json.loads((SPEED.parent / "speed.json").read_text())
    assert page.tables(recorded) in (SPEED.parent / "README.md").read_text()


def test_the_exponent_is_the_power_of_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SPEED.parent))
    import scaling

    sizes = [3, 10, 30, 100, 300]
    for power in (0.0, 1.0, 1.5):
        assert scaling.exponent(sizes, [0.02 * size**power for size in sizes]) == pytest.approx(power)


def test_every_size_is_trained_and_measured(tmp_path: Path) -> None:
    output = tmp_path / "scaling.json"
    command = [sys.executable, SPEED.parent / "scaling.py", "--short", "--only", "metrics", "--output", output]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    measures = json.loads(output.read_text())["measures"]
    assert lines == [{"measure": name, **found} for name, found in measures.items()]
    assert [*measures] == ["metrics_step", "metrics_after"]
    for found in measures.values():
        assert found["sizes"] == [1, 5]
        assert min(found["wall"]["seconds"]) > 0


def test_the_table_and_the_exponents_are_those_of_the_recorded_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SPEED.parent))
    import scaling

    recorded = json.loads(scaling.RESULT.read_text())
    assert scaling.table(recorded) in scaling.PAGE.read_text()
    assert recorded["measures"].keys() == scaling.MEASURES.keys()
    for found in recorded["measures"].values():
        cpu = found["cpu"]
        assert cpu["exponent"] == pytest.approx(scaling.exponent(found["sizes"], cpu["seconds"]), abs=0.002)
        assert cpu["exponent"] <= scaling.GOAL
