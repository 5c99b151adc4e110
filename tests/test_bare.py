"""A machine with only Python, pip and cookiecutter: the hook creates the project's environment."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import CONSTRAINTS, VERIFIED, generate


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Make an environment that contains only cookiecutter."""
    environment = tmp_path / "cookiecutter only"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "cookiecutter"], check=True)
    return python


def test_a_python_without_torch_gets_an_environment_that_trains(bare: Path, tmp_path: Path) -> None:
    own = Path(sys.executable).parent
    others = [
        folder
        for folder in os.environ["PATH"].split(os.pathsep)
        if Path(folder) != own and not shutil.which("uv", path=folder)
    ]
    path = os.pathsep.join([str(bare.parent), *others])  # without the tests' torch and uv
    result = generate(tmp_path, python=str(bare), PATH=path, PIP_CONSTRAINT=str(CONSTRAINTS), VIRTUAL_ENV="")
    assert result.returncode == 0, result.stdout
    assert VERIFIED.search(result.stdout), result.stdout
    assert re.search(rf"  {re.escape(str(bare))} lacks torch>=2\.10 and \d+ more\n", result.stdout)
    assert "pip install --editable . --group dev" in result.stdout
    assert "Installing collected packages" in result.stdout  # the installer's progress
    assert "activate" in result.stdout.split("Next:")[1]

    project = tmp_path / "my_lightning_project"
    scripts = project / ".venv" / bare.parent.name
    activated = os.environ | {"PATH": f"{scripts}{os.pathsep}{path}"}
    for command in (
        "my_lightning_project fit --config configs/smoke.yaml",
        "pytest -q",
        "git init -q && git add . && pre-commit run --all-files",
    ):
        result = subprocess.run(
            command, shell=True, cwd=project, env=activated, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
