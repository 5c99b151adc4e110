"""Listen on a port, and stop at once and in silence when told to."""

import errno
import logging
import os
import signal
import socket
import sys
from types import FrameType
from typing import NoReturn

import uvicorn
from fastapi import FastAPI

from ..engine.errors import InputError


class Server(uvicorn.Server):
    """A server that reports no errors of requests which its own end cuts off."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        super().handle_exit(sig, frame)


def listen(host: str, port: int) -> socket.socket:
    """Listen on a port.

    Raises:
        InputError: If it is taken, or not ours to take.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except socket.gaierror:
        raise InputError(f"--host {host}: no such address on this machine") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"--port {port}: is taken by another program; choose another, or 0 for any") from None
        option = f"--port {port}" if error.errno == errno.EACCES else f"--host {host}"
        raise InputError(f"{option}: {os.strerror(error.errno or 0).lower()}") from None
    # asyncio sends small packets at once only if it is told the protocol; otherwise each answer takes 40 ms longer.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=listening.detach())


def serve_app(app: FastAPI, listening: socket.socket, name: str, access_log: bool = False) -> None:
    """Serve until SIGTERM or Ctrl-C; then exit with status 0.

    Args:
        app: The application.
        listening: Where to listen.
        name: What is served, for the line that says so.
        access_log: Whether to print a line for every request.
    """
    # uvicorn raises the signal again after it has closed its connections.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit)
    host, port = listening.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    print(f"serving {name} at http://{host}:{port} (API: http://{host}:{port}/docs); Ctrl-C stops it", flush=True)
    config = uvicorn.Config(
        app,
        log_level="info" if access_log else "warning",
        access_log=access_log,
        timeout_graceful_shutdown=1,  # seconds for the requests that are being answered
    )
    Server(config).run(sockets=[listening])


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(0)
