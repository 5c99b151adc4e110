"""Predictions of a model that takes plain arrays: one for a dataset of your own."""

from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI
from pydantic import Field

from ..export.predict import Predictor
from .limits import Limits
from .model import Model
from .rows import add_rows, record_type


def add_predict(app: FastAPI, predictor: Predictor, limits: Limits) -> None:
    """Add `POST /predict` for rows of nested lists.

    Args:
        app: The application.
        predictor: The exported model.
        limits: Limits of a request.
    """
    example = predictor.about["example"]
    fields = {given["name"]: _array(given["dtype"], given["shape"][1:]) for given in predictor.about["inputs"]}
    add_rows(app, Model(predictor, example), limits, record_type("Row", fields), example)


def _array(dtype: str, shape: list[int]) -> Any:
    """Return the type of nested lists of a shape, whose numbers fit a dtype."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        number: Any = bool
    elif kind.kind in "iu":
        number = Annotated[int, Field(ge=int(np.iinfo(kind).min), le=int(np.iinfo(kind).max))]
    else:
        number = Annotated[float, Field(ge=float(np.finfo(kind).min), le=float(np.finfo(kind).max))]
    for size in reversed(shape):
        number = Annotated[list[number], Field(min_length=size, max_length=size)]
    return Annotated[number, Field(description=f"{dtype} of shape {tuple(shape)}")]
