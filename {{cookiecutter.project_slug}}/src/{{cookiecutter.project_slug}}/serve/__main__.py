"""Serve an exported run over HTTP, with a page to try it by hand.

    python -m {{ cookiecutter.project_slug }}.serve               # the newest run
    python -m {{ cookiecutter.project_slug }}.serve runs/first --port 8080

`/` is the page, `/docs` describes the requests, `/health` says whether the server is up.
"""

from pathlib import Path

from ..engine.commands import CommandParser, errors_in_one_line, find_run, require_group
from ..engine.errors import InputError

COMMAND = "python -m {{ cookiecutter.project_slug }}.export"


def main(args: list[str] | None = None) -> None:
    """Serve a run until a signal ends it.

    Args:
        args: The command line; by default that of the process.
    """
    parser = CommandParser("Serve an exported run over HTTP, with a page to try it by hand.")
    parser.add_argument("run", nargs="?", help="The run's name or folder, or that of an export (default: the newest).")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="Folder of the runs (default: runs).")
    parser.add_argument("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for every network.")
    parser.add_argument("--port", type=int, default=8000, help="Port to listen on; 0 for a free one (default: 8000).")
    parser.add_argument("--max_body_mb", type=float, default=20.0, help="Largest request in MB (default: 20).")
    given = parser.parse_args(args)
    if not 0 <= given.port <= 65535:
        parser.error(f"--port {given.port}: must be from 0 to 65535")
    if given.max_body_mb <= 0:
        parser.error(f"--max_body_mb {given.max_body_mb}: must be above 0")
    with errors_in_one_line():
        require_group("serve", "fastapi", "fastapi_offline", "multipart", "onnxruntime", "uvicorn")
        folder = find_export(given.root, given.run)
        from .server import run_server

        run_server(folder, given.host, given.port, int(given.max_body_mb * 1_000_000))


def find_export(root: Path, name: str | None) -> Path:
    """Return the folder of an exported model.

    Args:
        root: Folder of the runs.
        name: A run's name or folder, or the folder of an export; by default the newest run.

    Raises:
        InputError: If there is no such run, or it is not exported.
    """
    if name is not None and Path(name, "model.json").exists():
        return Path(name)
    run = find_run(root, name)
    if not (run / "export" / "model.json").exists():
        raise InputError(f"{run} is not exported: {COMMAND} {run}")
    return run / "export"


if __name__ == "__main__":
    main()
