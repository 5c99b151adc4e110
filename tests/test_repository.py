"""A project that trains becomes a git repository, whatever git is told elsewhere."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import load_hook

HOOK: Any = load_hook("post_gen_project")
ENVIRONMENT = HOOK.child_environment(os.environ)


@pytest.fixture(autouse=True)
def _back_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def _nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the user: git finds neither a name nor settings."""
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
    """Let the hook make a small project a repository; return its result and the lines it printed."""
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    (folder / "README.md").write_text("# Seed")
    (folder / ".pre-commit-config.yaml").write_text("repos: []")
    committed = HOOK.start_repository(sys.executable, ENVIRONMENT)
    return committed, capsys.readouterr().out.splitlines()


@pytest.mark.usefixtures("_somebody")
def test_a_project_that_trains_becomes_a_repository_on_main_with_a_first_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As inside a git hook of another repository, with settings that ask questions, open an editor and run hooks.
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
def test_a_missing_git_identity_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
def test_without_pre_commit_its_installation_is_left_to_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub/pre_commit.py").write_text("raise ImportError")
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", str(tmp_path / "stub"))
    committed, said = start(tmp_path / "seed", capsys)
    assert committed
    assert said[1] == "git: `pre-commit install` is left to you, once the tools are installed"
