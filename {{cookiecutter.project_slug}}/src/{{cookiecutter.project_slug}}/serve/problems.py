"""How a request is refused: a list of problems, each with the field that it is about."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

MESSAGES = {  # by pydantic's type of error, where its message is not for the user of a model
    "missing": "is missing",
    "extra_forbidden": "is not known to this model",
    "dict_type": "should be a JSON object",
    "too_long": "holds more rows than this server takes in a request",
    "value_error": "should be a file",  # FastAPI's own, for a field of a form
}
MOST = 20  # problems in a reply
ONE, MANY = "row", "rows"  # tags of a body with one row, and with a list of them


class Problem(BaseModel):
    """What is wrong with a request.

    Attributes:
        row: The row or image, counted from 1, where there are several.
        field: The column, input or option, or "body" for the whole.
        message: What is wrong with it.
    """

    row: int | None = None
    field: str | None = None
    message: str


class Problems(BaseModel):
    """Why a request was refused."""

    detail: list[Problem]


class Refused(Exception):
    """A request cannot be answered.

    Args:
        problems: What is wrong with it.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__()
        self.problems = problems


def explain_errors(app: FastAPI) -> None:
    """Answer every request that cannot be answered with `Problems`."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return _reply(422, error.problems)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        found = [_problem(flaw) for flaw in error.errors()]
        # A value that may be of several types has an error for each.
        first = {(problem.row, problem.field): problem for problem in reversed(found)}
        return _reply(422, [problem for problem in found if first[problem.row, problem.field] is problem][:MOST])

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> JSONResponse:
        field = None if error.status_code in (404, 405) else "body"
        return _reply(error.status_code, [Problem(field=field, message=str(error.detail))], error.headers)


def _reply(status: int, problems: Sequence[Problem], headers: Mapping[str, str] | None = None) -> JSONResponse:
    detail = [{name: _printable(value) for name, value in problem.model_dump().items()} for problem in problems]
    return JSONResponse({"detail": detail}, status, headers)


def _printable(value: Any) -> Any:
    """Replace what a reply in UTF-8 cannot hold, such as half a surrogate pair in the name of a column."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _problem(error: Mapping[str, Any]) -> Problem:
    """Describe an error that pydantic found."""
    _, *place = error["loc"] if len(error["loc"]) > 1 else ("", "body")
    row = None
    if place[0] in (ONE, MANY) and place.pop(0) == MANY and place:
        row = int(place.pop(0)) + 1
    name, *inside = place or ["body"]
    if error["type"] == "json_invalid":
        return Problem(field="body", message=f"is not JSON: {error['ctx']['error']} at character {name}")
    words = str(error["msg"]).replace("Input should", "should").replace(" after validation", "")
    message = MESSAGES.get(error["type"], words)
    positions = "".join(f"[{part}]" for part in inside if isinstance(part, int))
    return Problem(row=row, field=f"{name}{positions}", message=message)
