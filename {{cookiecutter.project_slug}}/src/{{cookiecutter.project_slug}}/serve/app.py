"""The application: a page to try the model, its description, and predictions."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi_offline import FastAPIOffline

from ..export.predict import Predictor
from . import arrays, routes
from .limits import BodyLimit, Limits
from .problems import explain_errors

VERSIONS = {"python": platform.python_version()} | {name: version(name) for name in ("fastapi", "onnxruntime")}
# The browser itself makes sure that the page loads nothing from elsewhere.
PAGE_POLICY = "default-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; frame-ancestors 'none'"


def make_app(predictor: Predictor, limits: Limits) -> FastAPI:
    """Make the application for an exported model.

    Args:
        predictor: The exported model.
        limits: Limits of a request.
    """
    about = predictor.about
    # FastAPI's own /docs loads its scripts from a server in the internet, and stays blank without it.
    app = FastAPIOffline(
        title=f"{about['project']}: {about['run']}",
        description=f"Predictions of the run `{about['run']}`, exported on {about['created'][:10]}.",
        redoc_url=None,
        version=about["created"][:10],
    )
    explain_errors(app)
    app.add_middleware(BodyLimit, limit=limits.body)
    add_predict = arrays.add_predict if about["kind"] == "arrays" else routes.add_predict
    add_predict(app, predictor, limits)
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")

    @app.get("/", include_in_schema=False)
    async def try_it() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY})

    @app.get("/health", summary="Is the server up, and which run does it serve?")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "run": about["run"], "exported": about["created"], "versions": VERSIONS}

    @app.get("/model", summary="The content of model.json")
    async def model() -> dict[str, Any]:
        return about

    return app
