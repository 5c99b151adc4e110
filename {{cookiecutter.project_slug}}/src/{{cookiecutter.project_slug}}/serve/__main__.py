"""Serve an exported run over HTTP, without PyTorch.

    python -m {{ cookiecutter.project_slug }}.serve               # the newest run
    python -m {{ cookiecutter.project_slug }}.serve runs/first --port 8080

`/` is a page to try the model by hand, `/docs` describes the API: `POST /predict`, `GET /health`, `GET /model`.
"""

from pathlib import Path

from ..engine.commands import CommandParser, errors_in_one_line, require_group


def main(args: list[str] | None = None) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        args: The command line; by default that of the process.
    """
    parser = CommandParser("Serve an exported run over HTTP, without PyTorch.")
    parser.add_argument(
        "run", nargs="?", help="The run: its name, or the path of its folder or its export (default: the newest)."
    )
    parser.add_argument("--root", type=Path, default=Path("runs"), help="Folder of the runs (default: runs).")
    parser.add_argument(
        "--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 lets others in (default: 127.0.0.1)."
    )
    parser.add_argument("--port", type=int, default=8000, help="Port to listen on; 0 takes a free one (default: 8000).")
    parser.add_argument("--max_body_mb", type=float, default=16, help="Largest request in MB (default: 16).")
    parser.add_argument("--max_rows", type=int, default=1000, help="Most rows or images in a request (default: 1000).")
    parser.add_argument("--access_log", action="store_true", help="Print a line for every request.")
    given = parser.parse_args(args)
    for name, valid in (("port", 0 <= given.port < 65536), ("max_body_mb", given.max_body_mb > 0)):
        if not valid:
            parser.error(f"--{name} {getattr(given, name)}: is out of range")
    if given.max_rows < 1:
        parser.error(f"--max_rows {given.max_rows}: must be 1 or more")
    with errors_in_one_line():
        require_group("serve", "fastapi", "fastapi_offline", "onnxruntime", "python_multipart", "uvicorn")
        from .limits import Limits
        from .model import find_export, open_export
        from .server import listen, serve_app

        folder = find_export(given.root, given.run)
        predictor = open_export(folder)
        limits = Limits(body=int(given.max_body_mb * 1_000_000), rows=given.max_rows)
        from .app import make_app

        serve_app(make_app(predictor, limits), listen(given.host, given.port), str(folder), given.access_log)


if __name__ == "__main__":
    main()
