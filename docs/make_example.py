"""Write docs/example.md, the page that shows what the default answers render.

    python docs/make_example.py

A test compares the page to what is rendered now.
"""

import tempfile
from pathlib import Path

from cookiecutter.main import cookiecutter

DOCS = Path(__file__).parent
SHOWN = ("module.py", "datamodule.py", "report.py", "train.py")


def build(project: Path) -> str:
    """Describe a rendered project: its files with their lengths, and the text of those that an owner edits first."""
    package = f"src/{project.name}"
    paths = sorted(path for path in project.rglob("*") if path.is_file())
    lines = {path.relative_to(project).as_posix(): len(path.read_text().splitlines()) for path in paths}
    width = max(map(len, lines))
    listing = "\n".join(f"{path:<{width}}  {count:>4}" for path, count in lines.items())
    parts = [
        "# What the default answers render",
        "`python docs/make_example.py` wrote this page. The task is `regression`; every file with its number of lines:",
        f"```\n{listing}\n```",
    ]
    for path in ("configs/train.yaml", *(f"{package}/{name}" for name in SHOWN)):
        language = "yaml" if path.endswith(".yaml") else "python"
        parts += [f"## {path}", f"```{language}\n{(project / path).read_text()}```"]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Render without hooks, and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"no_input": True, "output_dir": folder, "accept_hooks": False, "default_config": True}
        (DOCS / "example.md").write_text(build(Path(cookiecutter(str(DOCS.parent), **options))), encoding="utf-8")


if __name__ == "__main__":
    main()
