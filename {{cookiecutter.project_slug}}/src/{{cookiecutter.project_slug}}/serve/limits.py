"""Limits of a request, so that none can take all memory or all time."""

from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(frozen=True)
class Limits:
    """Limits of a request.

    Attributes:
        body: Bytes.
        rows: Rows or images.
        pixels: Pixels of an image, of which a small file can hold very many.
        prompt: Characters of a prompt.
        new_tokens: Tokens to generate.
    """

    body: int = 16_000_000
    rows: int = 1000
    pixels: int = 50_000_000
    prompt: int = 20_000
    new_tokens: int = 2_000


class BodyLimit:
    """Middleware that refuses a body which is too large, as soon as this is known.

    Args:
        app: The application.
        limit: Bytes of a body, at most.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        announced = headers.get(b"content-length", b"0")
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # Bodies that come in chunks announce no size.
            if received > self.limit or (announced.isdigit() and int(announced) > self.limit):
                raise HTTPException(413, f"is larger than {self.limit / 1_000_000:g} MB, the limit of this server")
            return message

        await self.app(scope, limited if scope["type"] == "http" else receive, send)
