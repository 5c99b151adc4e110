"""Predictions for the rows of a table."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import Field

from ..export.predict import Predictor
from .limits import Limits
from .model import Model
from .rows import add_rows, record_type

SHOWN = 12  # categories in the description of a column
TYPES: dict[str, type] = {"number": float, "boolean": bool}  # anything else is text


def add_predict(app: FastAPI, predictor: Predictor, limits: Limits) -> None:
    """Add `POST /predict` for rows of a table.

    Args:
        app: The application.
        predictor: The exported model.
        limits: Limits of a request.
    """
    about = predictor.about
    fields = {column["name"]: _field(column, about["example"]) for column in about["columns"]}
    add_rows(app, Model(predictor, about["example"]), limits, record_type("Row", fields), about["example"])


def _field(column: dict[str, Any], example: dict[str, Any]) -> Any:
    """Return the type of a column's values."""
    kind: Any = TYPES.get(column.get("holds", column["type"]), str)
    if column["type"] == "category" and kind is float:
        kind = float | str  # as in the table, perhaps with a decimal comma
    description = _description(column)
    if not column["required"]:
        kind, description = kind | None, f"{description}; null if it is missing"
    return Annotated[kind, Field(description=description, examples=[example[column["name"]]])]


def _description(column: dict[str, Any]) -> str:
    if column["type"] == "category":
        known = [str(value) for value in column["categories"] if value is not None]
        rest = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
        return f"one of {', '.join(known[:SHOWN])}{rest}; any other counts as unseen in training"
    if column["type"] == "date":
        return f"a date such as {datetime(2026, 12, 31, 23, 59).strftime(column['format'] or '%Y-%m-%d')}"
    return "true or false" if column["type"] == "boolean" else "a number"
