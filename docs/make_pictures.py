"""Make the README's pictures from a real generation and a real run.

    python docs/make_pictures.py

Needs a POSIX terminal, the environment of tests/requirements.txt, nbconvert and Chromium.
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

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image, ImageOps
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


def picture_notebook(folder: Path) -> None:
    """Run the notebook of the walkthrough and take screenshots: the whole page, and the step with the module."""
    from nbconvert import HTMLExporter

    answers = ["--no-input", "--default-config", "--output-dir", str(folder), str(DOCS.parent)]
    answers += ["project_slug=lesson", "walkthrough=true", "verify=skip"]
    command = [sys.executable, "-m", "cookiecutter", *answers]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    notebook = nbformat.read(folder / "lesson/walkthrough/the_lightning_solution.ipynb", as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}).execute()
    first = next(number for number, cell in enumerate(notebook.cells) if "class LitRegression" in cell.source)
    last = next(number for number, cell in enumerate(notebook.cells) if "unified_diff" in cell.source)
    for name, cells in (("notebook", notebook.cells), ("walkthrough", notebook.cells[first : last + 1])):
        html, _ = HTMLExporter().from_notebook_node(NotebookNode(notebook | {"cells": cells}))
        (folder / "page.html").write_text(html, encoding="utf-8")
        picture = take_screenshot(folder / "page.html", folder, "1000,12000")
        picture.crop(ImageOps.invert(picture).getbbox()).quantize(32).save(DOCS / f"{name}.png", optimize=True)


def take_screenshot(page: Path, folder: Path, size: str, *options: str) -> Image.Image:
    """Open a page in Chromium, and return what its window shows."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={size}"]
    command += ["--disable-background-networking", f"--user-data-dir={folder / 'chromium'}", *options]
    subprocess.run([*command, f"--screenshot={folder / 'page.png'}", f"file://{page}"], check=True)
    return Image.open(folder / "page.png").convert("RGB")


def picture_report(page: Path, folder: Path) -> None:
    """Take screenshots of a run's report, in a light and a dark theme."""
    for name, options in (("report-light", []), ("report-dark", ["--blink-settings=preferredColorScheme=0"])):
        take_screenshot(page, folder, "1000,1500", *options).quantize(256).save(DOCS / f"{name}.png", optimize=True)


def main() -> None:
    """Generate, train, and save what was printed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        said = converse([sys.executable, "-m", "cookiecutter", "--default-config", str(DOCS.parent)], folder)
        said = said.replace(sys.executable, "python").replace(os.path.realpath(sys.executable), "python")
        console = Console(record=True, width=100, file=open(os.devnull, "w"))  # noqa: SIM115
        console.print(Text.from_ansi("$ cookiecutter lit-template\n" + said))
        console.save_svg(str(DOCS / "generate.svg"), title="cookiecutter lit-template")
        print(said)

        project = folder / "my_lightning_project"
        environment = os.environ | {"PYTHONPATH": str(project / "src")}
        for options in (["fit", "--name", "first"], ["test"]):
            command = [sys.executable, "-m", "my_lightning_project.train", *options]
            subprocess.run(command, cwd=project, env=environment, check=True)
        picture_report(project / "runs/first/report.html", folder)
        shutil.copy(project / "runs/first/curves.png", DOCS / "curves.png")
        picture_notebook(folder)


if __name__ == "__main__":
    main()
