"""Limits: how large a request may be."""

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_ROWS = 1000  # rows of a request


class LimitBody:
    """Refuse requests whose body is too large, before it is read as a whole.

    Args:
        app: The application.
        max_body: Largest body, in bytes.
    """

    def __init__(self, app: ASGIApp, max_body: int) -> None:
        self.app = app
        self.max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        message = f"larger than {self.max_body / 1_000_000:g} MB, the largest that this server takes"
        if length.isdigit() and int(length) > self.max_body:
            error = {"field": "body", "row": None, "message": message}
            await JSONResponse({"errors": [error]}, status_code=413)(scope, receive, send)
            return
        read = 0

        async def limited() -> Message:
            nonlocal read
            part = await receive()
            read += len(part.get("body", b""))
            if read > self.max_body:  # sent in chunks, without a length
                raise HTTPException(413, message)
            return part

        await self.app(scope, limited, send)
