"""The application: what every model has in common. Its requests are in `routes.py`."""

import math
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from ..engine import errors
from ..export.predict import InputError, Predictor
from .limits import LimitBody
from .routes import add_requests


class Error(BaseModel):
    """What is wrong with a request.

    Attributes:
        field: The column, option or input, or "body".
        row: Number of the row, counted from 1.
        message: What is wrong.
    """

    field: str
    row: int | None = None
    message: str


class Errors(BaseModel):
    """Everything that is wrong with a request."""

    errors: list[Error]


class PlainJSON(JSONResponse):
    """JSON with null for numbers that are not finite, which JSON does not have."""

    def render(self, content: Any) -> bytes:
        return super().render(_finite(content))


def make_app(folder: Path, max_body: int) -> FastAPI:
    """Make the application for an exported model.

    Args:
        folder: Folder of the export.
        max_body: Largest body of a request, in bytes.

    Raises:
        InputError: If the export cannot be read.
    """
    try:
        predictor = Predictor(folder)
    except Exception as error:  # ONNX Runtime's have no class in common
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise errors.InputError(f"{folder} cannot be read: {reason}; export the run again") from None
    about = predictor.about
    app: FastAPI = FastAPIOffline(
        title=f"{about['project']}: {about['run']}",
        description=f"The model of the run {about['run']}, exported {about['created'][:16].replace('T', ' ')}.",
        version=about["created"][:10],
        default_response_class=PlainJSON,
        responses={422: {"model": Errors, "description": "A value cannot be used."}},
        redoc_url=None,
    )
    app.add_middleware(LimitBody, max_body=max_body)
    add_requests(app, predictor)
    page = files(__package__).joinpath("page.html").read_text(encoding="utf-8")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def show_page() -> str:
        return page

    @app.get("/health", summary="Tell that the server is up")
    def health() -> dict[str, Any]:
        return {"status": "ok", "run": about["run"], "created": about["created"], "versions": about["versions"]}

    @app.get("/model", summary="Describe the model: the content of model.json")
    def model() -> dict[str, Any]:
        return about

    @app.exception_handler(RequestValidationError)
    def refuse_request(request: Request, error: RequestValidationError) -> JSONResponse:
        return _refusal([_error(detail) for detail in error.errors()])

    @app.exception_handler(InputError)
    def refuse_value(request: Request, error: InputError) -> JSONResponse:
        return _refusal([Error(field=error.field or "body", row=error.row, message=error.message)])

    @app.exception_handler(HTTPException)
    def refuse_other(request: Request, error: HTTPException) -> JSONResponse:
        field = "path" if error.status_code in (404, 405) else "body"
        return _refusal([Error(field=field, message=error.detail)], error.status_code)

    return app


def _refusal(found: list[Error], status: int = 422) -> JSONResponse:
    return JSONResponse(Errors(errors=found).model_dump(), status_code=status)


def _error(detail: Any) -> Error:
    """Name the field of an error that pydantic found."""
    place = [part for part in detail["loc"][1:] if part != "rows"]
    rows = [part for part in place if isinstance(part, int)]
    names = [part for part in place if isinstance(part, str) and not part.startswith("function-")]
    broken = detail["type"] == "json_invalid"
    message = f"not JSON: {detail['ctx']['error']}" if broken else detail["msg"]
    field = "body" if broken or not detail["loc"][1:] else names[0] if names else str(detail["loc"][1])
    return Error(field=field, row=rows[0] + 1 if rows and not broken else None, message=message)


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    return [_finite(value) for value in content] if isinstance(content, (list, tuple)) else content
