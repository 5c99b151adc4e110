"""`serve`: a request is answered as the exported model answers, or refused with the field that is wrong."""

import socket
from pathlib import Path
from typing import Any

import pytest
from conftest import error_line

from {{ cookiecutter.project_slug }}.engine.commands import PACKAGE

EXAMPLE = {"x": [1.0, 2.0]}
ABOUT = {
    **{"kind": "arrays", "project": PACKAGE, "run": "first", "created": "2026-12-31T12:00:00+00:00"},
    "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 2]}],
    "example": EXAMPLE,
}


class Sums:
    """Stands for an exported model: the sum of its inputs."""

    about = ABOUT

    def predict(self, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
        return {"sum": [sum(row["x"]) for row in rows]}


def test_requests_are_answered_or_refused_with_their_field() -> None:
    pytest.importorskip("fastapi_offline", reason="python -m pip install --group serve")
    from fastapi.testclient import TestClient

    from {{ cookiecutter.project_slug }}.serve.app import make_app
    from {{ cookiecutter.project_slug }}.serve.limits import Limits

    predictor: Any = Sums()
    client = TestClient(make_app(predictor, Limits(rows=3)))
    assert client.get("/health").json()["status"] == "ok"
    assert client.get("/model").json() == ABOUT
    assert "<!doctype html>" in client.get("/").text
    assert client.post("/predict", json=EXAMPLE).json() == {"sum": 3.0}
    assert client.post("/predict", json=[EXAMPLE, {"x": [0, 0.5]}]).json() == [{"sum": 3.0}, {"sum": 0.5}]
    for body, row, field in (
        ({"x": [1]}, None, "x"),
        ([EXAMPLE, {"x": [1, "2"]}], 2, "x[1]"),
        ({**EXAMPLE, "y": 1}, None, "y"),
        ([EXAMPLE] * 4, None, "body"),
    ):
        answer = client.post("/predict", json=body)
        [problem] = answer.json()["detail"]
        assert (answer.status_code, problem["row"], problem["field"]) == (422, row, field)


def test_only_exported_runs_are_served(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("fastapi_offline", reason="python -m pip install --group serve")
    line = error_line(["serve"], capsys)
    assert line == f"error: runs/first is not exported; first: python -m {PACKAGE}.export runs/first"
    (trained / "export").mkdir()
    (trained / "export" / "model.json").write_text("{}")
    assert "runs/first/export cannot be opened; export the run again" in error_line(["serve", "first"], capsys)


def test_small_packets_are_sent_at_once() -> None:
    pytest.importorskip("fastapi_offline", reason="python -m pip install --group serve")
    from {{ cookiecutter.project_slug }}.serve.server import listen

    listening = listen("127.0.0.1", 0)
    with listening, socket.create_connection(listening.getsockname()), listening.accept()[0] as connection:
        assert connection.proto == socket.IPPROTO_TCP  # then asyncio sets TCP_NODELAY
