"""Run the web server."""

import logging
import os
import signal
import socket
import sys
from pathlib import Path

import uvicorn

from ..engine.errors import InputError
from .app import make_app

GRACE = 5  # seconds in which running requests may finish


def run_server(folder: Path, host: str, port: int, max_body: int) -> None:
    """Serve an exported model until a signal ends it.

    Args:
        folder: Folder of the export.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        max_body: Largest body of a request, in bytes.

    Raises:
        InputError: If the address or the port cannot be used, or the export is damaged.
    """
    app = make_app(folder, max_body)
    listener = _listen(host, port)
    address = f"[{host}]" if ":" in host else host
    url = f"http://{address}:{listener.getsockname()[1]}"
    # Uvicorn raises the signal that ended it again, once it is done.
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), lambda *_: sys.exit(0))
    print(f"serving {folder} on {url}  (requests: {url}/docs; Ctrl-C ends it)", flush=True)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every broken upload, which is refused
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE)
    uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if os.name != "nt":  # where it would let two servers share a port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"--host {host} --port {port}: {reason}; choose another") from None
    return listener
