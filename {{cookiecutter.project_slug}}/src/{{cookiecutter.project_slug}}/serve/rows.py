"""`POST /predict` with JSON: one row, or a list of them."""

from typing import Annotated, Any, Union

from fastapi import Body, Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Discriminator, Field, Tag
from typing_extensions import TypedDict  # pydantic takes that of `typing` from Python 3.12 on

from .limits import Limits
from .model import Model
from .problems import MANY, ONE, Problems

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def require_type(wanted: str) -> Any:
    """Return a dependency that refuses requests of another content type, before their body is looked at."""

    async def check(request: Request) -> None:
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != wanted:
            raise HTTPException(415, f"has content type {given or '(none)'}; this server takes {wanted}")

    return Depends(check)


def record_type(name: str, fields: dict[str, Any]) -> Any:
    """Return the type of a JSON object with these fields, any text being a name."""
    made = TypedDict(name, fields)  # type: ignore[misc]
    made.__pydantic_config__ = STRICT  # type: ignore[attr-defined]
    return made


def one_or_many(item: Any, most: int) -> Any:
    """Return the type of a body that holds an item or a list of them."""
    one: Any = Annotated[item, Tag(ONE)]
    many: Any = Annotated[list_of(item), Field(max_length=most), Tag(MANY)]
    return Annotated[one | many, Discriminator(lambda given: MANY if isinstance(given, list) else ONE)]


def examples_of(example: dict[str, Any], name: str) -> Any:
    """Return a body with its examples for /docs: an item, and a list of two."""
    return Body(openapi_examples={f"one {name}": {"value": example}, f"several {name}s": {"value": [example, example]}})


def list_of(item: Any) -> Any:
    """Return the type of a list of items whose type is known at run time only."""
    return list.__class_getitem__(item)


def replies(answer: Any, *others: Any) -> dict[int | str, dict[str, Any]]:
    """Describe the replies to a request for /docs.

    Args:
        answer: Type of what is returned.
        others: Types of what may be returned instead.
    """
    return {
        200: {"model": Union[(answer, *others)]},
        413: {"model": Problems, "description": "The request is too large"},
        415: {"model": Problems, "description": "The request has another content type"},
        422: {"model": Problems, "description": "The request is malformed"},
    }


def add_rows(app: FastAPI, model: Model, limits: Limits, row: Any, example: dict[str, Any]) -> None:
    """Add `POST /predict` for rows.

    Args:
        app: The application.
        model: The model.
        limits: Limits of a request.
        row: Type of a row.
        example: A row.
    """
    row_or_rows = one_or_many(row, limits.rows)
    prediction = record_type("Prediction", {name: type(value) for name, value in model.columns.items()})

    @app.post(
        "/predict",
        summary="Predict for a row, or for a list of rows",
        response_class=JSONResponse,
        dependencies=[require_type("application/json")],
        description=f"A row is answered by its prediction, a list of up to {limits.rows} rows by the list of theirs.",
        responses=replies(prediction, list_of(prediction)),
    )
    async def predict(
        rows: Annotated[row_or_rows, examples_of(example, "row")],  # type: ignore[valid-type]
    ) -> JSONResponse:
        if isinstance(rows, list):
            return JSONResponse(await model.predict(rows))
        [answer] = await model.predict([rows])
        return JSONResponse(answer)
