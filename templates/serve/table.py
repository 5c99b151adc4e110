"""The requests: rows of a table, checked against its columns."""

from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, create_model

from ..export.predict import Predictor
from .arrays import Predictions, add_arrays, as_rows
from .limits import MAX_ROWS


def add_requests(app: FastAPI, predictor: Predictor) -> None:
    """Add `POST /predict`."""
    if predictor.about["kind"] != "table":
        add_arrays(app, predictor)
        return
    body = make_body(predictor.about)

    def predict(body: Any) -> Any:
        rows = [row.model_dump(by_alias=True) for row in body.rows]
        return Predictions(predictions=as_rows(predictor.predict(rows)))

    predict.__annotations__ = {"body": body, "return": Predictions}
    app.post("/predict", summary="Predict for rows of a table")(predict)


def make_body(about: dict[str, Any]) -> type[BaseModel]:
    """Make the model of a request: a row has exactly the columns of the training table.

    Args:
        about: The content of model.json.
    """
    strict = ConfigDict(extra="forbid", allow_inf_nan=False)
    # Columns may have names that are none in Python.
    fields: dict[str, Any] = {f"column_{number}": _field(column) for number, column in enumerate(about["columns"])}
    row = create_model("Row", __config__=strict, **fields)
    example: Any = {"rows": [about["example"]]}
    return create_model(
        "Rows",
        __config__=ConfigDict(extra="forbid", json_schema_extra={"examples": [example]}),
        rows=(Annotated[list[row], Field(min_length=1, max_length=MAX_ROWS)], ...),  # type: ignore[valid-type]
    )


def _field(column: dict[str, Any]) -> tuple[Any, Any]:
    """Describe a column to pydantic."""
    kind, about = column["type"], "null if it is missing"
    types: dict[str, Any] = {"number": float, "boolean": bool, "date": str}
    if kind == "category":
        known = [value for value in column["categories"] if value is not None]
        held: Any = str | bool | float if column["holds"] != "number" else float | str
        about = f"One of {', '.join(known[:50])}{' …' if len(known) > 50 else ''}; any other counts as unseen; {about}"
    else:
        held = types[kind]
        about = f"A date in the format {column['format'] or '%Y-%m-%d'}; {about}" if kind == "date" else about
    if column["required"]:
        about = about.removesuffix("null if it is missing").removesuffix("; ")
    else:
        held = held | None
    return held, Field(alias=column["name"], description=about[:1].upper() + about[1:])
