"""Continuations of prompts, whole or streamed as they are sampled."""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Annotated, Any, NotRequired

from fastapi import Body, FastAPI
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import Field
from starlette.concurrency import iterate_in_threadpool

from ..export.predict import InputError, Predictor
from .limits import Limits
from .problems import Problem, Refused
from .rows import examples_of, list_of, one_or_many, record_type, replies, require_type


def add_predict(app: FastAPI, predictor: Predictor, limits: Limits) -> None:
    """Add `POST /predict` for prompts, and `POST /predict/stream` for one.

    Args:
        app: The application.
        predictor: The exported model.
        limits: Limits of a request.
    """
    text = predictor.about["text"]
    example = {"prompt": text["example"], "new_tokens": min(text["new_tokens"], limits.new_tokens)}
    prompt = record_type("Prompt", _fields(text, limits))
    answer = record_type("Continuation", {"prompt": str, "continuation": str})
    prompt_or_prompts = one_or_many(prompt, limits.rows)
    examples = examples_of(example, "prompt")

    @app.post(
        "/predict",
        summary="Continue a prompt, or a list of prompts",
        response_class=JSONResponse,
        dependencies=[require_type("application/json")],
        responses=replies(answer, list_of(answer)),
    )
    async def predict(prompts: Annotated[prompt_or_prompts, examples]) -> JSONResponse:  # type: ignore[valid-type]
        given: list[dict[str, Any]] = prompts if isinstance(prompts, list) else [prompts]
        if (total := sum(options.get("new_tokens", text["new_tokens"]) for options in given)) > limits.new_tokens:
            message = f"is {total} in all; this server generates {limits.new_tokens} for a request"
            raise Refused([Problem(field="new_tokens", message=message)])
        numbers: Iterable[int | None] = range(1, len(given) + 1) if len(given) > 1 else [None] * len(given)
        started = [_start(predictor, options, number) for options, number in zip(given, numbers, strict=True)]
        answers = []
        for options, pieces in zip(given, started, strict=True):
            # Piece by piece, so that a server that stops waits for one token at most
            continuation = "".join([piece async for piece in iterate_in_threadpool(pieces)])
            answers.append({"prompt": options["prompt"], "continuation": continuation})
        return JSONResponse(answers if isinstance(prompts, list) else answers[0])

    @app.post(
        "/predict/stream",
        summary="Continue a prompt, and send the text as it is sampled",
        response_class=StreamingResponse,
        dependencies=[require_type("application/json")],
        responses=replies(str),
    )
    async def stream(options: Annotated[prompt, Body(examples=[example])]) -> StreamingResponse:  # type: ignore[valid-type]
        pieces = _start(predictor, {"new_tokens": example["new_tokens"], **options})
        return StreamingResponse(_encoded(pieces), media_type="text/plain; charset=utf-8")


def _fields(text: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Return the types of a prompt and its options, by name."""
    options = {
        "new_tokens": (int, Field(ge=0, le=limits.new_tokens, description=f"default: {text['new_tokens']}")),
        "temperature": (float, Field(ge=0.01, le=100, description=f"default: {text['temperature']}")),
        "top_k": (int, Field(ge=1, lt=2**31, description=f"default: {text['top_k']}")),
        "seed": (int, Field(ge=0, lt=2**53, description="for the same text again; by default each is another")),
    }
    prompt = Annotated[str, Field(min_length=1, max_length=limits.prompt, description="text to continue")]
    return {"prompt": prompt} | {name: NotRequired[Annotated[kind, field]] for name, (kind, field) in options.items()}


def _start(predictor: Predictor, options: dict[str, Any], number: int | None = None) -> Iterator[str]:
    """Check a prompt, and return the pieces of its continuation, none of which is sampled yet."""
    try:
        options["prompt"].encode()
        return predictor.generate(**options)
    except UnicodeEncodeError:
        message = "holds half of a surrogate pair, which is no character"
        raise Refused([Problem(row=number, field="prompt", message=message)]) from None
    except InputError as error:
        raise Refused([Problem(row=number, field=error.field, message=error.message)]) from None


async def _encoded(pieces: Iterator[str]) -> AsyncIterator[bytes]:
    async for piece in iterate_in_threadpool(pieces):
        yield piece.encode("utf-8", "replace")
