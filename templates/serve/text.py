"""The requests: prompts."""

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from ..export.predict import Predictor
from .arrays import Predictions, add_arrays, as_rows

MAX_PROMPTS = 16  # of a request
MAX_CHARACTERS = 100_000  # of a prompt; the model sees its end
MAX_NEW_TOKENS = 2000

Text = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]


class Sampling(BaseModel):
    """How a prompt is continued; what is left out is as in training."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    new_tokens: int | None = Field(None, ge=0, le=MAX_NEW_TOKENS, description="Tokens to generate.")
    temperature: float | None = Field(None, gt=0, description="Below 1, likely tokens become more likely.")
    top_k: int | None = Field(None, gt=0, description="Number of most likely tokens to sample from.")
    seed: int | None = Field(None, ge=0, lt=2**63, description="Random seed; null samples anew.")


class Prompts(Sampling):
    """Texts to continue."""

    prompts: list[Text] = Field(min_length=1, max_length=MAX_PROMPTS)


class Prompt(Sampling):
    """A text to continue."""

    prompt: Text


def add_requests(app: FastAPI, predictor: Predictor) -> None:
    """Add `POST /predict` and `POST /stream`."""
    if predictor.about["kind"] != "text":
        add_arrays(app, predictor)
        return
    example = predictor.about["text"]["example"]
    Prompts.model_config["json_schema_extra"] = {"examples": [{"prompts": [example], "new_tokens": 50}]}
    Prompt.model_config["json_schema_extra"] = {"examples": [{"prompt": example, "new_tokens": 50}]}
    for body in (Prompts, Prompt):
        body.model_rebuild(force=True)

    @app.post("/predict", summary="Continue prompts")
    def predict(body: Prompts) -> Predictions:
        settings: dict[str, Any] = body.model_dump(exclude={"prompts"})
        return Predictions(predictions=as_rows(predictor.predict(body.prompts, **settings)))

    @app.post("/stream", summary="Continue a prompt, sent as it is generated", response_class=StreamingResponse)
    def stream(body: Prompt) -> StreamingResponse:
        pieces: Iterator[str] = predictor.generate(**body.model_dump())
        first = next(pieces, "")  # an error in the prompt shows before the answer begins
        return StreamingResponse(chain([first], pieces), media_type="text/plain; charset=utf-8")
