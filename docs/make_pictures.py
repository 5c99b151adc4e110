"""Make the README's pictures anew from a real generation and a real run.

    python docs/make_pictures.py

Needs a terminal of the POSIX kind and the environment of tests/requirements.txt.
"""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).parent
ENTER_AFTER = re.compile(rb"\(([^()]*)\): $")  # a prompt ends with its default


def converse(command: list[str], folder: Path) -> str:
    """Run a command in a terminal of 100 columns and answer every prompt with Enter."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execvpe(command[0], command, os.environ | {"COLUMNS": "100", "TERM": "xterm-256color"})
    output = b""
    while True:
        try:
            if select.select([terminal], [], [], 0.5)[0]:
                output += os.read(terminal, 4096)
            elif ENTER_AFTER.search(re.sub(rb"\x1b\[[0-9;]*m", b"", output)):
                os.write(terminal, b"\n")
                output += b" "  # so that one prompt is answered once
        except OSError:  # the child has closed its side
            os.waitpid(child, 0)
            return output.decode().replace("\r\n", "\n")


def main() -> None:
    """Generate, train, and keep what was seen."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        said = converse([sys.executable, "-m", "cookiecutter", "--default-config", str(DOCS.parent)], folder)
        said = said.replace(sys.executable, "python").replace(os.path.realpath(sys.executable), "python")
        console = Console(record=True, width=100, file=open(os.devnull, "w"))  # noqa: SIM115
        console.print(Text.from_ansi("$ cookiecutter gh:org/lit-template\n" + said))
        console.save_svg(str(DOCS / "generate.svg"), title="cookiecutter gh:org/lit-template")
        print(said)

        project = folder / "my_lightning_project"
        environment = os.environ | {"PYTHONPATH": str(project / "src")}
        command = [sys.executable, "-m", "my_lightning_project.train", "fit", "--name", "first"]
        subprocess.run(command, cwd=project, env=environment, check=True)
        shutil.copy(project / "runs/first/curves.png", DOCS / "curves.png")


if __name__ == "__main__":
    main()
