"""The requests: image files."""

from typing import Annotated, Any

from fastapi import FastAPI, File, UploadFile

from ..export.predict import Predictor
from .arrays import Predictions, add_arrays, as_rows

MAX_IMAGES = 100  # of a request


def add_requests(app: FastAPI, predictor: Predictor) -> None:
    """Add `POST /predict`."""
    if predictor.about["kind"] != "image":
        add_arrays(app, predictor)
        return

    @app.post("/predict", summary="Classify images")
    def predict(
        files: Annotated[list[UploadFile], File(description="Image files.", min_length=1, max_length=MAX_IMAGES)],
    ) -> Predictions:
        columns: dict[str, list[Any]] = {"file": [file.filename or "" for file in files]}
        return Predictions(predictions=as_rows(columns | predictor.predict([file.file.read() for file in files])))
