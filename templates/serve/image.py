"""Predictions for uploaded images."""

import io
from typing import Annotated

import numpy as np
from fastapi import FastAPI, File, UploadFile
from fastapi.responses import JSONResponse
from PIL import Image

from ..export.predict import Predictor
from .limits import Limits
from .model import Model
from .problems import Problem, Refused
from .rows import list_of, record_type, replies, require_type

# Pillow reads many more, some of them by other programs.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


def add_predict(app: FastAPI, predictor: Predictor, limits: Limits) -> None:
    """Add `POST /predict` for images.

    Args:
        app: The application.
        predictor: The exported model.
        limits: Limits of a request.
    """
    size, channels = predictor.about["image"]["size"], predictor.about["image"]["channels"]
    model = Model(predictor, np.zeros((size, size) if channels == 1 else (size, size, channels), dtype=np.uint8))
    kinds = {"file": str} | {name: type(value) for name, value in model.columns.items()}
    prediction = record_type("Prediction", kinds)
    # So that /docs has a button to choose files, not a field for text
    upload = File(description=", ".join(FORMATS), json_schema_extra={"items": {"type": "string", "format": "binary"}})

    @app.post(
        "/predict",
        summary="Classify one or more images",
        response_class=JSONResponse,
        dependencies=[require_type("multipart/form-data")],
        responses=replies(list_of(prediction)),
    )
    async def predict(images: Annotated[list[UploadFile], upload]) -> JSONResponse:
        if len(images) > limits.rows:
            message = f"holds {len(images)} images; this server takes {limits.rows} in a request"
            raise Refused([Problem(field="images", message=message)])
        names = [image.filename or "images" for image in images]
        contents = []
        for number, image in enumerate(images, start=1):
            contents.append(await image.read())
            if flaw := _flaw(contents[-1], limits.pixels):
                row = number if len(images) > 1 else None
                raise Refused([Problem(row=row, field=names[number - 1], message=flaw)])
        try:
            answers = await model.predict(contents)
        except Refused as refused:
            for problem in refused.problems:
                problem.field = names[(problem.row or 1) - 1]
            raise
        return JSONResponse([{"file": name, **answer} for name, answer in zip(names, answers, strict=True)])


def _flaw(content: bytes, most: int) -> str | None:
    """Say why a file cannot be used, from its first bytes: a small one can hold an image of any size."""
    Image.MAX_IMAGE_PIXELS = None  # checked here, without Pillow's warning
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > most:
                return f"has {image.width} x {image.height} pixels; this server takes {most:,}"
    except Exception:  # Pillow's readers raise almost anything
        return f"is not an image of a known format ({', '.join(FORMATS)}), or a damaged one"
    return None
