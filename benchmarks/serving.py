"""What a prediction over HTTP costs: `serve` beside a bare FastAPI route that returns a constant.

    python benchmarks/serving.py --rounds 5

It renders a project of each of three tasks, trains it with configs/smoke.yaml, exports it, and serves it by its own
command. A second process serves a constant by the same FastAPI and uvicorn. Each gets the same requests over kept
connections, one connection and then 16 at a time, in alternation. It prints a line of JSON per task and number of
connections: requests per second and latency in ms (median and 99th percentile) of both, the ratios (median, least and
greatest over the rounds), and the time of a row in ONNX Runtime, alone and in a batch of 16: the difference is what
micro-batching could save of a request.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import onnxruntime
from measure import NAME, render

TASKS = ("regression", "classification", "image_classification")
BARE = """
import sys, uvicorn
from fastapi import FastAPI

app = FastAPI()

@app.post("/predict")
async def predict():
    return {"constant": 130.0}

uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


@contextmanager
def server(project: Path, *command: str) -> Iterator[int]:
    """Start a server on a free port, which becomes the last word of the command, and yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    line = [sys.executable, *command, str(port)]
    process = subprocess.Popen(line, cwd=project, env=environment, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


async def ask(port: int, request: bytes, until: float, latencies: list[float]) -> None:
    """Send a request again and again over one connection, and note how long each takes, in ms."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (start := time.perf_counter()) < until:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
        latencies.append(1000 * (time.perf_counter() - start))
    writer.close()


async def load(port: int, request: bytes, connections: int, seconds: float) -> dict[str, float]:
    """Ask over some connections at a time."""
    latencies: list[float] = []
    until = time.perf_counter() + seconds
    await asyncio.gather(*(ask(port, request, until, latencies) for _ in range(connections)))
    cuts = statistics.quantiles(latencies, n=100)
    return {"requests per second": len(latencies) / seconds, "p50": cuts[49], "p99": cuts[98]}


def request_for(project: Path) -> bytes:
    """Return a request for a prediction, as it goes over the wire."""
    about = json.loads((project / "runs/first/export/model.json").read_text())
    if about["kind"] == "image":
        import io

        from PIL import Image

        file = io.BytesIO()
        Image.new("L", (about["image"]["size"],) * 2).save(file, "PNG")
        part = b'--b\r\nContent-Disposition: form-data; name="images"; filename="0.png"\r\n\r\n'
        body, kind = part + file.getvalue() + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"
    else:
        body, kind = json.dumps(about["example"]).encode(), "application/json"
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def row_time(project: Path, size: int) -> float:
    """Return how long ONNX Runtime takes for a row, in ms, in batches of a size."""
    session = onnxruntime.InferenceSession(project / "runs/first/export/model.onnx", providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    kinds = {"tensor(double)": np.float64, "tensor(uint8)": np.uint8}
    inputs = {given.name: np.zeros((size, *given.shape[1:]), dtype=kinds[given.type])}
    times = []
    for _ in range(300):
        start = time.perf_counter()
        session.run(None, inputs)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times) / size


def spread(values: Sequence[float]) -> list[float]:
    """Return the median, the least and the greatest."""
    return [float(f"{value:.3g}") for value in (statistics.median(values), min(values), max(values))]


def measure(project: Path, rounds: int, seconds: float) -> Iterator[dict[str, object]]:
    """Yield the figures of a project, for one connection and for 16."""
    request = request_for(project)
    rows = {f"ms per row, batch of {size}": float(f"{row_time(project, size):.3g}") for size in (1, 16)}
    serve = ("-m", f"{NAME}.serve", "runs/first", "--port")
    with server(project, *serve) as served, server(project, "-c", BARE) as bare:
        for connections in (1, 16):
            found: dict[str, list[dict[str, float]]] = {"serve": [], "bare": []}
            for number in range(rounds + 1):
                for name, port in (("serve", served), ("bare", bare)):
                    figures = asyncio.run(load(port, request, connections, seconds))
                    if number:  # the first round warms up
                        found[name].append(figures)
            names = list(found["serve"][0])
            pairs = list(zip(found["serve"], found["bare"], strict=True))
            yield {
                "connections": connections,
                **{
                    side: {name: spread([f[name] for f in figures]) for name in names}
                    for side, figures in found.items()
                },
                "ratios": {name: spread([one[name] / other[name] for one, other in pairs]) for name in names},
                **rows,
            }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="Rounds of each server (default: 5).")
    parser.add_argument("--seconds", type=float, default=2, help="Seconds of a round (default: 2).")
    parser.add_argument("--only", choices=TASKS, help="One task.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for task in [given.only] if given.only else TASKS:
            project = render(Path(folder, task), task=task, logger="csv")
            environment = os.environ | {"PYTHONPATH": str(project / "src")}
            fit = ["fit", "--name", "first", "--config", "configs/smoke.yaml", "--trainer.accelerator", "cpu"]
            for command in (["train", *fit], ["export"]):
                line = [sys.executable, "-m", f"{NAME}.{command[0]}", *command[1:]]
                subprocess.run(line, cwd=project, env=environment, check=True, capture_output=True)
            for figures in measure(project, given.rounds, given.seconds):
                print(json.dumps({"task": task, **figures}), flush=True)


if __name__ == "__main__":
    main()
