"""Requests with plain arrays, for data of your own, and the form of every answer."""

from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, create_model

from ..export.predict import Predictor
from .limits import MAX_ROWS


class Predictions(BaseModel):
    """What is predicted, for every row in order: values by column, as in predictions.csv."""

    predictions: list[dict[str, Any]]


def as_rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Turn columns into rows."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def add_arrays(app: FastAPI, predictor: Predictor) -> None:
    """Add `POST /predict` for rows of arrays, one for every input of the model."""
    about = predictor.about
    fields: dict[str, Any] = {
        f"input_{number}": (Any, Field(alias=given["name"], description=f"Numbers of shape {given['shape'][1:]}"))
        for number, given in enumerate(about["inputs"])
    }
    row = create_model("Row", __config__=ConfigDict(extra="forbid"), **fields)
    example: Any = {"rows": [about["example"]]}
    body = create_model(
        "Rows",
        __config__=ConfigDict(extra="forbid", json_schema_extra={"examples": [example]}),
        rows=(Annotated[list[row], Field(min_length=1, max_length=MAX_ROWS)], ...),  # type: ignore[valid-type]
    )

    def predict(body: Any) -> Any:
        rows = [row.model_dump(by_alias=True) for row in body.rows]
        return Predictions(predictions=as_rows(predictor.predict(rows)))

    predict.__annotations__ = {"body": body, "return": Predictions}
    app.post("/predict", summary="Predict for rows of arrays")(predict)
