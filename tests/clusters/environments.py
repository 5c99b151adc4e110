"""Environments with packages that only a cluster needs."""

import os
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from tempfile import mkdtemp


@cache
def python_with(*requirements: str, alone: bool = False) -> Path:
    """Make an environment with some packages, for this session, and return its Python.

    Args:
        requirements: What to install.
        alone: Whether to leave out the packages of the running environment.
    """
    folder = Path(mkdtemp(prefix="lit-template-"))
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    if not alone:
        [packages] = folder.glob("lib/python3*/site-packages")
        (packages / "running.pth").write_text(sysconfig.get_paths()["purelib"])
    python = folder / "bin/python"
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    command = [python, "-m", "pip", "install", "--quiet", *requirements]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return python
