"""The walkthrough works in a project that asked for it, and leaves no trace in one that did not."""

import difflib
import os
import re
import subprocess
import sys

import pytest

from conftest import Render, files, generate


def _python(project, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(project / "src")}  # as if the project were installed
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("task", ["regression", "language_model"])  # one task with the lesson's dataset, one without
def test_the_walkthrough_passes_its_own_tests_and_ruff(
    render: Render, task: str, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "srun").touch(mode=0o755)  # on a machine with Slurm, Lightning would have more to say
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    project = render(project_slug="seed", task=task, walkthrough=True)
    for command in (["ruff", "check"], ["ruff", "format", "--check"]):
        result = _python(project, "-m", *command)
        assert result.returncode == 0, result.stdout
    result = _python(project, "-m", "pytest", "-q", "-n", "0", "-m", "slow or not slow", "tests/test_walkthrough.py")
    assert result.returncode == 0, result.stdout
    assert re.search(r"\d\d passed", result.stdout)
    assert "skipped" not in result.stdout
    assert "warning" not in result.stdout


def test_the_exercise_is_the_solution_without_its_training_step(render: Render) -> None:
    project = render(project_slug="seed", walkthrough=True)
    exercise, solution = (
        (project / "walkthrough" / name).read_text().split("class LitRegression")[1].split("\n\n\nif __name__")[0]
        for name in ("exercise.py", "solution.py")
    )
    changes = [line for line in difflib.ndiff(exercise.splitlines(), solution.splitlines()) if line[0] in "+-"]
    assert [line[10:] for line in changes if line[0] == "+"] == [
        "y_hat = self(x)",
        "loss = self.criterion(y_hat, y)",
        'self.log("train_loss", loss)',
        "return loss",
    ]
    assert [line[12:19] for line in changes if line[0] == "-"] == ["TODO 1:", "TODO 2:", "TODO 3:", "Extra: "]

    result = _python(project, "-m", "walkthrough.check")
    assert result.returncode == 1
    assert result.stderr == "exercise.py: TODO 1 is open: predict with y_hat = self(x)\n"


def test_a_project_without_the_walkthrough_has_no_trace_of_it(tmp_path) -> None:
    generate(tmp_path, "project_slug=seed", "walkthrough=false", "verify=skip")
    project = tmp_path / "seed"
    assert not (project / "walkthrough").exists()
    traces = {path for path in files(project) if re.search("walkthrough|nbclient", (project / path).read_text())}
    assert traces == {"pyproject.toml"}
    lines = [line for line in (project / "pyproject.toml").read_text().splitlines() if "walkthrough" in line]
    assert lines == ["walkthrough = false"]  # the recorded answer


def test_the_command_line_sets_the_answer(tmp_path) -> None:
    result = generate(tmp_path, "project_slug=seed", "walkthrough=true", "verify=skip")
    assert result.returncode == 0, result.stdout
    assert "walkthrough/exercise.py" in files(tmp_path / "seed")
