"""The post-generation hook as a module: what it asks, what it concludes, and what it leaves behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import REPO, load_hook

HOOK: Any = load_hook("post_gen_project")
ENVIRONMENT = HOOK.child_environment(os.environ)


def project(folder: Path, train: str) -> Path:
    """Write a project whose `train` is the given code."""
    package = folder / "src" / "seed"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "train.py").write_text(train)
    return folder


def logging_losses(*losses: float) -> str:
    """Write the code of a run that logs these validation losses."""
    rows = "".join(f"{step},{loss}\\n" for step, loss in enumerate(losses))
    return f"""
from pathlib import Path
Path("runs/first").mkdir(parents=True)
Path("runs/first/metrics.csv").write_text("step,val_loss\\n{rows}")
"""


def smoke(folder: Path, seconds: float = 60) -> tuple[float, float]:
    os.chdir(folder)
    return HOOK.smoke("seed", sys.executable, ENVIRONMENT, seconds)


@pytest.fixture(autouse=True)
def _back_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["pre_gen_project", "post_gen_project"])
def test_the_only_jinja_is_the_last_line(name: str) -> None:
    *above, last = (REPO / "hooks" / f"{name}.py").read_text().splitlines()
    assert "{{ cookiecutter | tojson }}" in last
    assert not [line for line in above if "{{" in line or "{%" in line or "{#" in line]


def test_a_falling_loss_is_reported(tmp_path: Path) -> None:
    assert smoke(project(tmp_path, logging_losses(1.5, 0.9, 0.5))) == (1.5, 0.5)


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


@pytest.mark.skipif(os.name == "nt", reason="looks for the processes with ps")
def test_a_run_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    train = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.path[0] + "/../pid", "w").write(str(child.pid))
time.sleep(60)
"""
    project(tmp_path, train)
    with pytest.raises(HOOK.NotVerified, match="longer than 2 s"):
        smoke(tmp_path, seconds=2)
    pid = (tmp_path / "pid").read_text()
    state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False).stdout
    assert state.strip().startswith("Z") or not state  # gone, or dead and waiting to be collected


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no signal that kills")
def test_a_run_that_is_killed_says_nothing_about_the_project(tmp_path: Path) -> None:
    with pytest.raises(HOOK.NotVerified, match="SIGKILL"):
        smoke(project(tmp_path, "import os; os.kill(os.getpid(), 9)"))


def test_the_child_knows_nothing_of_schedulers_and_launchers() -> None:
    given = {"SLURM_NTASKS": "4", "RANK": "1", "WORLD_SIZE": "2", "PYTHONPATH": "x", "VIRTUAL_ENV": "y"}
    kept = {"PATH": "p", "HOME": "h", "CUDA_VISIBLE_DEVICES": "", "PIP_CONSTRAINT": "c"}
    child = HOOK.child_environment(given | kept)
    assert not given.keys() & child.keys()
    assert kept.items() <= child.items()


@pytest.mark.parametrize("name", ["pre_gen_project", "post_gen_project"])
def test_a_stray_module_beside_the_hook_is_not_imported(tmp_path: Path, name: str) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('the wrong json')")
    shutil.copy(REPO / "hooks" / f"{name}.py", tmp_path)
    result = subprocess.run([sys.executable, tmp_path / f"{name}.py"], capture_output=True, text=True, check=False)
    assert "the wrong json" not in result.stderr
    assert "JSONDecodeError" in result.stderr  # as far as an unrendered hook gets


def test_the_running_python_is_asked_first_and_none_twice(tmp_path: Path) -> None:
    found = HOOK.candidates({"VIRTUAL_ENV": sys.prefix, "CONDA_PREFIX": str(tmp_path)})
    assert found[0] == sys.executable
    assert len(found) == len(set(found))


def test_a_python_is_asked_what_it_has(tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[project]\ndependencies = ["torch>=2", "lightning>=2.6.6"]')
    has = HOOK.probe(sys.executable, "3.11", ENVIRONMENT)
    assert set(has) == {"python", "torch", "device"}
    # A PyTorch that was built for CUDA names it also where there is none.
    there = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    assert has["device"] == (there.type if there else "cpu")


@pytest.mark.parametrize(
    ("dependency", "oldest", "lacks", "installable"),
    [
        ("torch>=99", "3.11", f"torch>=99 (it has {torch.__version__.split('+')[0]}", True),
        ("absent-package", "3.11", "absent-package", True),
        ("absent-package[extra]>=1,<2", "3.11", "absent-package[extra]>=1,<2", True),
        ("torch>=2", "3.99", "Python 3.99", False),
    ],
)
def test_what_a_python_lacks_is_named(
    tmp_path: Path, dependency: str, oldest: str, lacks: str, installable: bool
) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[project]\ndependencies = ["{dependency}"]')
    found = HOOK.probe(sys.executable, oldest, ENVIRONMENT)
    assert found["lacks"].startswith(lacks)
    assert found["installable"] == installable


def pyproject(folder: Path, *dependencies: str) -> None:
    """Write a pyproject.toml with these dependencies."""
    (folder / "pyproject.toml").write_text(f"[project]\ndependencies = {list(dependencies)}")


def test_several_missing_packages_are_counted_and_torch_is_named_first(tmp_path: Path) -> None:
    pyproject(tmp_path, "absent-package", "pytest>=1", "torchmetrics>=99", "torch>=99")
    lacks = HOOK.probe(sys.executable, "3.11", ENVIRONMENT)["lacks"]
    assert re.fullmatch(r"torch>=99 \(it has [\d.]+[^)]*\) and 2 more", lacks)


@pytest.mark.parametrize(
    ("dependencies", "lacks"),
    [
        (["absent-package", "torch>=2.10"], "absent-package"),
        (["absent-package>=1", "absent-torch>=2.10"], "absent-package>=1 and 1 more"),
        (["torch>=2.10"], "packaging"),
    ],
)
def test_without_packaging_the_missing_dependencies_are_still_named(
    tmp_path: Path, dependencies: list[str], lacks: str
) -> None:
    pyproject(tmp_path, *dependencies)
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub/packaging.py").write_text("raise ImportError")
    found = HOOK.probe(sys.executable, "3.11", ENVIRONMENT | {"PYTHONPATH": str(tmp_path / "stub")})
    assert found == {"lacks": lacks, "installable": True}


def test_without_a_python_that_is_new_enough_there_is_nothing_to_build_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HOOK.shutil, "which", lambda name: None)  # no uv
    with pytest.raises(HOOK.NotVerified, match=r"no Python 3\.99 or newer here, nor uv"):
        HOOK.verify("seed", "3.99", {})
    assert not (tmp_path / ".venv").exists()


def test_a_torch_that_cannot_be_imported_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\ndependencies = []")
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "torch.py").write_text("raise OSError('libtorch.so is broken')")
    lacks = HOOK.probe(sys.executable, "3.11", ENVIRONMENT | {"PYTHONPATH": str(tmp_path / "stub")})["lacks"]
    assert lacks == "a torch that can be imported (libtorch.so is broken)"


def test_a_chosen_python_is_not_silently_replaced(tmp_path: Path) -> None:
    with pytest.raises(HOOK.NotVerified, match=r"LIT_TEMPLATE_PYTHON .* lacks a working interpreter"):
        HOOK.find_python("3.11", {"LIT_TEMPLATE_PYTHON": str(tmp_path / "absent")}, ENVIRONMENT)


def test_a_failed_installation_leaves_no_half_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "seed"\nversion = "1"\ndependencies = ["torch"]')
    monkeypatch.setattr(HOOK.shutil, "which", lambda name: None)  # no uv
    offline = ENVIRONMENT | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    with pytest.raises(HOOK.NotVerified, match="ended with status 1"):
        HOOK.install(sys.executable, "3.11", offline)
    assert not (tmp_path / ".venv").exists()
    assert "pip" in capfd.readouterr().out  # the installer's own words were shown


def test_cruft_is_known_by_its_temporary_folder(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder, "seed")
        inside.mkdir()
        assert HOOK.rendered_by_cruft({}, inside)
        assert not HOOK.rendered_by_cruft({"_output_dir": folder}, inside)  # cookiecutter itself
    assert not HOOK.rendered_by_cruft({}, tmp_path)


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def _nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no trace of who works here: git finds neither name nor settings."""
    for key in [key for key in os.environ if key.startswith(("GIT_", "XDG_CONFIG"))] + ["EMAIL"]:
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def _somebody(_nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")


def start(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[bool, list[str]]:
    """Let the hook make a repository of a project in the folder; give what it returned and said."""
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    (folder / "README.md").write_text("# Seed")
    (folder / ".pre-commit-config.yaml").write_text("repos: []")
    committed = HOOK.start_repository(sys.executable, ENVIRONMENT)
    return committed, capsys.readouterr().out.splitlines()


@pytest.mark.usefixtures("_somebody")
def test_a_verified_project_is_a_repository_on_main_with_a_first_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As under a git hook of another repository, with settings that would ask something, call an editor or run hooks.
    other = tmp_path / "other"
    git(tmp_path, "init", "--quiet", str(other))
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/post-commit").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran")
    (tmp_path / "hooks/post-commit").chmod(0o755)
    settings = f"[init]\ndefaultBranch = trunk\ntemplateDir = {tmp_path}\n[commit]\ngpgSign = true\nverbose = true\n"
    (tmp_path.parent / ".gitconfig").write_text(settings)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    folder = tmp_path / "seed"
    try:
        committed, said = start(folder, capsys)
    finally:
        (tmp_path.parent / ".gitconfig").unlink()
    assert committed
    assert said == [
        "git: a repository on main, with a first commit",
        "git: pre-commit looks at every commit from now on (with the environment active)",
    ]
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")
    assert git(folder, "log", "main", "--format=%an %s") == "Ada Start from lit-template\n"
    assert git(folder, "status", "--porcelain") == ""
    assert git(folder, "remote") == ""
    assert (folder / ".git/hooks/pre-commit").exists()
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("_somebody")
def test_inside_a_repository_nothing_is_committed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(tmp_path, "init", "--quiet")
    assert start(tmp_path / "seed", capsys) == (False, [])
    assert not (tmp_path / "seed/.git").exists()
    assert git(tmp_path, "status", "--porcelain") == "?? seed/\n"


@pytest.mark.usefixtures("_nobody")
def test_a_missing_identity_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    committed, said = start(tmp_path / "seed", capsys)
    assert not committed
    assert said[0].startswith("git: `git commit` is left to you: fatal: ")
    assert git(tmp_path / "seed", "diff", "--cached", "--name-only").split() == [".pre-commit-config.yaml", "README.md"]


def test_without_git_there_is_no_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(HOOK.shutil, "which", lambda name: None)
    assert start(tmp_path / "seed", capsys) == (False, [])
    assert not (tmp_path / "seed/.git").exists()


@pytest.mark.usefixtures("_somebody")
def test_a_python_without_pre_commit_leaves_it_to_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub/pre_commit.py").write_text("raise ImportError")
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", str(tmp_path / "stub"))
    committed, said = start(tmp_path / "seed", capsys)
    assert committed
    assert said[1] == "git: `pre-commit install` is left to you, once the tools are installed"


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
def test_what_is_said_and_which_status_follows(
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
        assert ("--config configs/smoke.yaml" in said) == (status == 0)  # how to verify later
        assert HOOK.main(answers("auto"), {"LIT_TEMPLATE_VERIFY": verify}) == status  # the variable wins
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_timeout_that_is_no_number_is_named(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_on_windows_a_child_is_ended_by_its_tree_and_commands_are_written_for_its_shell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Windows is not here: this holds what is asked of it, not that it does it."""
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


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_a_second_interrupt_does_not_break_off_the_cleaning_up(tmp_path: Path, monkeypatch: Any) -> None:
    first, *_, second = HOOK.INTERRUPTS
    remove = shutil.rmtree

    def make_half(command: list[str], **options: Any) -> None:
        (tmp_path / ".venv/lib").mkdir(parents=True)
        os.kill(os.getpid(), first)

    def hang_up_and_remove(*args: Any, **options: Any) -> None:
        os.kill(os.getpid(), second)
        remove(*args, **options)

    monkeypatch.setattr(HOOK, "run", make_half)
    monkeypatch.setattr(HOOK.shutil, "rmtree", hang_up_and_remove)
    before = [signal.signal(each, HOOK.interrupted) for each in HOOK.INTERRUPTS]
    try:
        with pytest.raises(KeyboardInterrupt):
            HOOK.install(sys.executable, "3.11", ENVIRONMENT)
    finally:
        for each, handler in zip(HOOK.INTERRUPTS, before, strict=True):
            signal.signal(each, handler)
    assert not (tmp_path / ".venv").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("number", HOOK.INTERRUPTS, ids=lambda number: number.name)
def test_an_interrupt_while_a_child_is_being_started_leaves_no_child(number: int, monkeypatch: Any) -> None:
    started = []

    class Interrupted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)
            os.kill(os.getpid(), number)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = [signal.signal(each, HOOK.interrupted) for each in HOOK.INTERRUPTS]
    try:
        with pytest.raises(KeyboardInterrupt):
            HOOK.run([sys.executable, "-c", "import time; time.sleep(60)"])
    finally:
        for each, handler in zip(HOOK.INTERRUPTS, before, strict=True):
            signal.signal(each, handler)
    assert [child.poll() is not None for child in started] == [True]
