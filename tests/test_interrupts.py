"""Ctrl-C, a scheduler's signal or a closed terminal leaves no process and no incomplete environment."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import generation, is_complete, load_hook, machine

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and terminals")

HOOK: Any = load_hook("post_gen_project")
ENVIRONMENT = HOOK.child_environment(os.environ)


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Handle signals as the hook does."""
    before = {number: signal.signal(number, HOOK.interrupted) for number in HOOK.INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_second_interrupt_does_not_stop_the_cleanup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_, second = HOOK.INTERRUPTS
    remove = shutil.rmtree

    monkeypatch.chdir(tmp_path)

    def install_half(command: list[str], **options: Any) -> None:
        (tmp_path / ".venv/lib").mkdir(parents=True)
        os.kill(os.getpid(), first)

    def hang_up_and_remove(*args: Any, **options: Any) -> None:
        os.kill(os.getpid(), second)
        remove(*args, **options)

    monkeypatch.setattr(HOOK, "run", install_half)
    monkeypatch.setattr(HOOK.shutil, "rmtree", hang_up_and_remove)
    with handled(), pytest.raises(KeyboardInterrupt):
        HOOK.install(sys.executable, "3.11", ENVIRONMENT)
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("number", HOOK.INTERRUPTS, ids=lambda number: number.name)
def test_an_interrupt_while_a_child_starts_leaves_no_child(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Interrupted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)
            os.kill(os.getpid(), number)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with handled(), pytest.raises(KeyboardInterrupt):
        HOOK.run([sys.executable, "-c", "import time; time.sleep(60)"])
    assert [child.poll() is not None for child in started] == [True]


LAST = "  python -m seed.train fit --config configs/smoke.yaml"


def processes(command: str) -> list[int]:
    """Find processes by command line."""
    found = subprocess.run(["pgrep", "-f", command], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in found.split()]


def read_until(terminal: int, *signs: str) -> str:
    """Read from a terminal until it has shown all signs."""
    said = ""
    while not all(sign in said for sign in signs):
        ready, _, _ = select.select([terminal], [], [], 120)
        assert ready, f"nothing more after: {said}"
        said += os.read(terminal, 4096).decode()
    return said


@contextlib.contextmanager
def in_a_terminal(command: list[str], environment: dict[str, str]) -> Iterator[int]:
    """Run a command from a shell in a new terminal; the shell stays open, like a user's. Yields the terminal."""
    import pty

    shell, terminal = pty.fork()
    if shell == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # shells ignore it for background jobs
        os.execvpe(
            "sh", ["sh", "-c", 'trap : INT; "$@"; echo "the shell is back"; read line', "sh", *command], environment
        )
    try:
        yield terminal
    finally:
        os.write(terminal, b"\n")
        os.waitpid(shell, 0)
        os.close(terminal)


@pytest.mark.parametrize("ending", ["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("stage", ["installing", "training"])
def test_an_interrupt_leaves_a_complete_project_and_no_process(tmp_path: Path, stage: str, ending: str) -> None:
    if stage == "training":
        python, environment, sign = Path(sys.executable), {}, "Training one smoke epoch"
    else:
        python, environment = machine(tmp_path / "machine", "torch")
        sign = "pip install --editable"
    environment |= {"TMPDIR": str(tmp_path)}
    with in_a_terminal(*generation(tmp_path, "project_slug=seed", python=python, **environment)) as terminal:
        said = read_until(terminal, sign)
        if stage == "training":
            while not list(tmp_path.glob("lit-template-*")):  # the folder of the smoke run
                time.sleep(0.05)
        if ending == "Ctrl-C":
            os.write(terminal, b"\x03")
        else:
            [hook] = processes(f"{tmp_path}/tmp[^/]*\\.py$")
            os.kill(hook, signal.SIGTERM)
        said += read_until(terminal, LAST, "the shell is back")
    assert "NOT VERIFIED: interrupted" in said
    assert is_complete(tmp_path / "seed")
    assert not processes(str(tmp_path))
