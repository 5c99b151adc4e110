"""The hook finds a Python with the project's dependencies, or installs them."""

import os
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import load_hook

HOOK: Any = load_hook("post_gen_project")
ENVIRONMENT = HOOK.child_environment(os.environ)


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def probe(*dependencies: str, oldest: str = "3.11", **stubs: str) -> dict[str, Any]:
    """Ask the running Python about a project with these dependencies, where these modules hold other code."""
    Path("pyproject.toml").write_text(f"[project]\ndependencies = {list(dependencies)}")
    Path("stubs").mkdir()
    for name, code in stubs.items():
        Path("stubs", f"{name}.py").write_text(code)
    return HOOK.probe(sys.executable, oldest, ENVIRONMENT | {"PYTHONPATH": os.path.abspath("stubs")})


def test_the_running_python_is_tried_first_and_none_twice(tmp_path: Path) -> None:
    found = HOOK.candidates({"VIRTUAL_ENV": sys.prefix, "CONDA_PREFIX": str(tmp_path)})
    assert found[0] == sys.executable
    assert len(found) == len(set(found))


def test_a_python_reports_its_versions() -> None:
    assert probe("torch>=2", "lightning>=2.6.6") == {"python": sys.version.split()[0], "torch": version("torch")}


@pytest.mark.parametrize(
    ("dependencies", "stubs", "lacks"),
    [
        (["absent"], {}, "absent"),
        (["absent[extra]>=1,<2"], {}, "absent[extra]>=1,<2"),
        (["torch>=99"], {}, f"torch>=99 (it has {torch.__version__.split('+')[0]}"),
        (["absent", "pytest>=1", "torchmetrics>=99", "torch>=99"], {}, "torch>=99 (it has "),  # torch is named first
        (["absent", "pytest>=1", "another>=2"], {}, "absent and 1 more"),
        # Without packaging, versions cannot be compared, but what is missing is still named.
        (["torch>=99", "absent>=1"], {"packaging": "raise ImportError"}, "absent>=1"),
        (["torch>=99"], {"packaging": "raise ImportError"}, "packaging"),
    ],
)
def test_a_python_reports_the_packages_it_lacks(dependencies: list[str], stubs: dict[str, str], lacks: str) -> None:
    found = probe(*dependencies, **stubs)
    assert found["installable"]
    assert found["lacks"].startswith(lacks)
    assert (found["lacks"] == lacks) == ("(it has " not in lacks)


def test_missing_packages_are_counted() -> None:
    assert re.fullmatch(r"torch>=99 \(it has [^)]*\) and 2 more", probe("a", "torch>=99", "b")["lacks"])


def test_a_python_that_is_too_old_cannot_be_fixed_by_installing_packages() -> None:
    assert probe("torch>=2", oldest="3.99") == {"lacks": "Python 3.99", "installable": False}


def test_without_uv_and_a_recent_python_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HOOK.shutil, "which", lambda name: None)  # no uv
    with pytest.raises(HOOK.NotVerified, match=r"no Python 3\.99 or newer here, nor uv"):
        HOOK.verify("seed", "3.99", {})
    assert not Path(".venv").exists()


def test_the_chosen_python_is_never_replaced_silently() -> None:
    with pytest.raises(HOOK.NotVerified, match=r"LIT_TEMPLATE_PYTHON .* lacks a working interpreter"):
        HOOK.verify("seed", "3.11", {"LIT_TEMPLATE_PYTHON": os.path.abspath("absent")})


@pytest.mark.parametrize("name", ["torch", "lightning"])
def test_a_python_whose_pytorch_cannot_be_imported_lacks_it(name: str) -> None:
    Path("stubs").mkdir()
    Path("stubs", f"{name}.py").write_text("raise OSError('libtorch.so is broken')")
    environment = ENVIRONMENT | {"PYTHONPATH": os.path.abspath("stubs")}
    lacks = HOOK.unusable_torch(sys.executable, environment)
    assert lacks == "a torch that can be imported (libtorch.so is broken)"
    assert HOOK.unusable_torch(sys.executable, ENVIRONMENT) is None


def test_uv_is_preferred_and_compiles_byte_code(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    monkeypatch.setattr(HOOK.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(HOOK, "run", lambda command, env: ran.append((command, env["UV_COMPILE_BYTECODE"])) or (0, ""))
    HOOK.install(sys.executable, "3.11", {})
    HOOK.install(sys.executable, "3.11", {"UV_COMPILE_BYTECODE": "0"})  # the user's own setting wins
    assert {command[0] for command, _ in ran} == {"/bin/uv"}
    assert [compiles for _, compiles in ran] == ["1", "1", "0", "0"]


def test_a_failed_installation_leaves_no_incomplete_environment(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("pyproject.toml").write_text('[project]\nname = "seed"\nversion = "1"\ndependencies = ["torch"]')
    monkeypatch.setattr(HOOK.shutil, "which", lambda name: None)  # no uv
    offline = ENVIRONMENT | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    with pytest.raises(HOOK.NotVerified, match="ended with status 1"):
        HOOK.install(sys.executable, "3.11", offline)
    assert not Path(".venv").exists()
    assert "pip" in capfd.readouterr().out  # the installer's own output was shown
