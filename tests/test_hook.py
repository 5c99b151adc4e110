"""The post-generation hook trains the smoke epoch, draws the right conclusion, and leaves no trace."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from conftest import REPO, load_hook

HOOK: Any = load_hook("post_gen_project")
ENVIRONMENT = HOOK.child_environment(os.environ)


def project(folder: Path, train: str) -> Path:
    """Write a project with this code as `train.py`."""
    package = folder / "src" / "seed"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "train.py").write_text(train)
    return folder


def logging_losses(*losses: float) -> str:
    """Return the code of a run that logs these validation losses."""
    rows = "".join(f"{step},{loss}\\n" for step, loss in enumerate(losses))
    return f"""
from pathlib import Path
Path("runs/first").mkdir(parents=True)
Path("runs/first/metrics.csv").write_text("step,val_loss\\n{rows}")
Path("runs/first/run.json").write_text('{{"hardware": {{"trained_on": "mps:0"}}}}')
"""


def smoke(folder: Path, seconds: float = 60) -> tuple[float, float, str]:
    os.chdir(folder)
    return HOOK.smoke("seed", sys.executable, ENVIRONMENT, seconds)


@pytest.fixture(autouse=True)
def _back_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["pre_gen_project", "post_gen_project"])
def test_the_only_jinja_is_in_the_last_line(name: str) -> None:
    *above, last = (REPO / "hooks" / f"{name}.py").read_text().splitlines()
    assert "{{ cookiecutter | tojson }}" in last
    assert not [line for line in above if "{{" in line or "{%" in line or "{#" in line]


def test_the_first_and_last_losses_and_the_device_are_reported(tmp_path: Path) -> None:
    assert smoke(project(tmp_path, logging_losses(1.5, 0.9, 0.5))) == (1.5, 0.5, "mps:0")


def test_the_smoke_run_leaves_nothing_in_the_project(tmp_path: Path) -> None:
    project(tmp_path, logging_losses(1.5, 0.5))
    before = sorted(tmp_path.rglob("*"))
    smoke(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        (logging_losses(1.5, float("nan")), "did not stay finite: 1.5 before, nan after"),
        (logging_losses(1.5, float("inf")), "did not stay finite"),
        (logging_losses(0.5, 1.5), "did not fall: 0.5 before, 1.5 after"),
        (logging_losses(0.5, 0.5), "did not fall"),
        ("", "logged no val_loss"),
        (
            "raise RuntimeError('broken on purpose')",
            "RuntimeError: broken on purpose\nthe smoke run ended with status 1",
        ),
    ],
)
def test_a_project_that_does_not_train_is_broken(tmp_path: Path, train: str, reason: str) -> None:
    with pytest.raises(HOOK.Broken, match=reason):
        smoke(project(tmp_path, train))


@pytest.mark.skipif(os.name == "nt", reason="finds processes with ps")
def test_a_smoke_run_over_its_time_limit_is_killed_with_its_children(tmp_path: Path) -> None:
    train = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.path[0] + "/../pid", "w").write(str(child.pid))
time.sleep(60)
"""
    project(tmp_path, train)
    with pytest.raises(HOOK.NotVerified, match="longer than 5 s"):
        smoke(tmp_path, seconds=5)
    pid = (tmp_path / "pid").read_text()
    state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False).stdout
    assert state.strip().startswith("Z") or not state  # gone, or a zombie


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_smoke_run_proves_nothing_about_the_project(tmp_path: Path) -> None:
    with pytest.raises(HOOK.NotVerified, match="SIGKILL"):
        smoke(project(tmp_path, "import os; os.kill(os.getpid(), 9)"))


def test_variables_of_schedulers_and_launchers_do_not_reach_the_child() -> None:
    given = {"SLURM_NTASKS": "4", "RANK": "1", "WORLD_SIZE": "2", "PYTHONPATH": "x", "VIRTUAL_ENV": "y"}
    kept = {"PATH": "p", "HOME": "h", "CUDA_VISIBLE_DEVICES": "", "PIP_CONSTRAINT": "c"}
    child = HOOK.child_environment(given | kept)
    assert not given.keys() & child.keys()
    assert kept.items() <= child.items()


@pytest.mark.parametrize("name", ["pre_gen_project", "post_gen_project"])
def test_a_stray_module_next_to_the_hook_is_not_imported(tmp_path: Path, name: str) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('the wrong json')")
    shutil.copy(REPO / "hooks" / f"{name}.py", tmp_path)
    result = subprocess.run([sys.executable, tmp_path / f"{name}.py"], capture_output=True, text=True, check=False)
    assert "the wrong json" not in result.stderr
    assert "JSONDecodeError" in result.stderr  # the unrendered hook gets no further


def test_cruft_is_recognized_by_its_temporary_folder(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder, "seed")
        inside.mkdir()
        assert HOOK.rendered_by_cruft({}, inside)
        assert not HOOK.rendered_by_cruft({"_output_dir": folder}, inside)  # plain cookiecutter
    assert not HOOK.rendered_by_cruft({}, tmp_path)


def answers(verify: str) -> dict[str, str]:
    return {"project_slug": "seed", "verify": verify, "python_version": "3.11", "_output_dir": "x"}


@pytest.mark.parametrize(
    ("verify", "error", "status", "words"),
    [
        ("auto", "NotVerified", 0, "NOT VERIFIED: no disk"),
        ("require", "NotVerified", 1, "NOT VERIFIED: no disk"),
        ("auto", "Broken", 1, "FAILED"),
        ("require", "Broken", 1, "FAILED"),
        ("auto", "KeyboardInterrupt", 0, "NOT VERIFIED: interrupted"),
        ("skip", "Broken", 0, "NOT VERIFIED: as you asked"),
    ],
)
def test_the_outcome_decides_the_message_and_the_exit_status(
    verify: str,
    error: str,
    status: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*args: object) -> None:
        raise getattr(HOOK, error, KeyboardInterrupt)("no disk")

    monkeypatch.setattr(HOOK, "verify", fail)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert HOOK.main(answers(verify), {}) == status
        said = capsys.readouterr().out
        assert words in said
        assert said.isascii()
        assert ("--config configs/smoke.yaml" in said) == (status == 0)  # the command to verify it later
        assert HOOK.main(answers("auto"), {"LIT_TEMPLATE_VERIFY": verify}) == status  # the variable wins
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_time_limit_must_be_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HOOK.NotVerified, match="LIT_TEMPLATE_TIMEOUT must be a number of seconds"):
        HOOK.verify("seed", "3.11", {"LIT_TEMPLATE_TIMEOUT": "soon"})


def test_the_next_commands_use_the_python_that_trained(tmp_path: Path) -> None:
    own = str(HOOK.VENV_PYTHON.absolute())
    activate = r".venv\Scripts\activate" if os.name == "nt" else ". .venv/bin/activate"
    assert HOOK.next_commands("seed", own) == ["cd seed", activate, "python -m seed.train fit"]
    quote = '"' if os.name == "nt" else "'"
    other = HOOK.next_commands("seed", "/opt/my python/bin/python")
    assert other[2] == f"{quote}/opt/my python/bin/python{quote} -m seed.train fit"
    assert len(HOOK.next_commands("seed", None)) == 3


def test_on_windows_the_process_tree_is_killed_and_commands_suit_its_shell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tested with mocks only: what Windows is asked, not what it does."""
    asked = []

    class Child:
        pid, stdout = 7, None

        def wait(self) -> None:
            asked.append("wait")

    monkeypatch.setattr(HOOK, "WINDOWS", True)
    monkeypatch.setattr(HOOK.subprocess, "run", lambda command, **options: asked.append(command))
    HOOK.end(Child())
    assert asked == [["taskkill", "/F", "/T", "/PID", "7"], "wait"]
    commands = HOOK.next_commands("seed", r"C:\Program Files\Python\python.exe")
    assert commands[2] == r'"C:\Program Files\Python\python.exe" -m seed.train fit'
    assert HOOK.next_commands("seed", None)[1].startswith(r"python -m venv .venv && .venv\Scripts\activate && ")


def test_on_windows_a_child_gets_a_process_group(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    class Started:
        returncode = 0

        def __init__(self, command: list[str], **options: Any) -> None:
            given.update(options)

        def communicate(self, timeout: float | None) -> tuple[str, None]:
            return "", None

    monkeypatch.setattr(HOOK, "WINDOWS", True)
    monkeypatch.setattr(HOOK.subprocess, "CREATE_NEW_PROCESS_GROUP", 512, raising=False)
    monkeypatch.setattr(HOOK.subprocess, "Popen", Started)
    assert HOOK.run(["python"]) == (0, "")
    assert given["creationflags"] == 512
    assert "start_new_session" not in given
