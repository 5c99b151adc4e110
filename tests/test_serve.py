"""`serve`: an exported model answers as `load_run` does, and refuses what it cannot use, by name."""

import csv
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from conftest import in_project, render_into

CONCURRENT = 100
JSON = {"content-type": "application/json"}
COLUMNS = ("größe", "income", "member", "since", "color")
ROW = {"größe": 170.5, "income": 41000.0, "member": True, "since": "03.04.2021", "color": "red"}


@contextmanager
def _server(project: Path, *options: str) -> Iterator[httpx.Client]:
    """Serve the newest run on a free port until the block ends, and check that it ends at once and quietly."""
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    command = [sys.executable, "-m", "seed.serve", "--port", "0", *options]
    process = subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("serving runs/first/export on http://127.0.0.1:"), line + process.stdout.read()
        with httpx.Client(base_url=line.split()[3], timeout=60) as client:
            yield client
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert process.returncode == 0
    assert output == ""


def _train_and_export(folder: Path, task: str, *options: str) -> Path:
    project = folder / "seed"
    script = "import json, sys; from seed.train import main; [main(command) for command in json.loads(sys.argv[1])]"
    fit = ["fit", "--name", "first", "--trainer.accelerator", "cpu", "--config", "configs/smoke.yaml", *options]
    in_project(project, "-c", script, json.dumps([fit, ["export"]]))
    return project


def _expected(project: Path, script: str) -> Any:
    loaded = f"import json; from seed import load_run; run = load_run('runs/first'); {script}"
    return json.loads(in_project(project, "-c", loaded).stdout.splitlines()[-1])


def _as_rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one == {
            key: value if isinstance(value, str) else pytest.approx(value, 1e-4) for key, value in other.items()
        }


def _ask(client: httpx.Client, bodies: list[dict[str, Any]], path: str = "/predict") -> list[httpx.Response]:
    """Send requests at the same time."""
    with ThreadPoolExecutor(CONCURRENT) as pool:
        return list(pool.map(lambda body: client.post(path, **body), bodies))


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_rows_of_a_table_are_answered_or_refused(task: str, tmp_path: Path) -> None:
    project = render_into(tmp_path, task=task, project_slug="seed", logger="csv")
    draw = np.random.default_rng(0)
    with (project / "my.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "goal"])
        for number in range(CONCURRENT):
            size = round(draw.normal(170, 10), 1)
            day = f"{number % 28 + 1:02}.{number % 12 + 1:02}.{2018 + number % 5}"
            values = [
                size if number % 9 else "",
                1000.5 * number,
                number % 3 == 0,
                day,
                ["red", "blue", ""][number % 3],
            ]
            writer.writerow([*values, size if task == "regression" else f"class {size > 170}"])
    _train_and_export(tmp_path, task, "--data.path", "my.csv", "--data.target", "goal")
    expected = _as_rows(_expected(project, "print(json.dumps(run.predict('my.csv')))"))
    with (project / "my.csv").open(newline="", encoding="utf-8") as file:
        rows = [{name: row[name] or None for name in COLUMNS} for row in csv.DictReader(file)]
    for row in rows:
        row |= {name: float(row[name]) if row[name] else None for name in ("größe", "income")}
        row["member"] = row["member"] == "True"
    with _server(project, "--max_body_mb", "0.5") as client:
        answers = _ask(client, [{"json": {"rows": [row]}} for row in rows])
        _assert_same([answer.json()["predictions"][0] for answer in answers], expected)
        _assert_same(client.post("/predict", json={"rows": rows}).json()["predictions"], expected)
        _check_pages(client)

        schema = client.get("/openapi.json").json()["components"]["schemas"]
        assert list(schema["Row"]["properties"]) == list(COLUMNS)
        assert set(schema["Rows"]["examples"][0]["rows"][0]) == set(COLUMNS)
        for body, status, field in _malformed():
            answer = client.post("/predict", **{"headers": JSON if "content" in body else {}, **body})
            assert answer.status_code == status, (body, answer.text)
            assert field in {error["field"] for error in answer.json()["errors"]}, (body, answer.text)

    scripts = "import sys, seed.serve.server; print([name for name in ('torch', 'lightning') if name in sys.modules])"
    assert in_project(project, "-c", scripts).stdout == "[]\n"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for options, message in (
            (("--port", str(taken.getsockname()[1])), "address already in use; choose another"),
            (("none",), "none: no such run; runs has first"),
        ):
            command = [sys.executable, "-m", "seed.serve", *options]
            environment = os.environ | {"PYTHONPATH": str(project / "src")}
            result = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
            assert result.returncode == 1
            [line] = result.stderr.splitlines()
            assert line.startswith("error: ")
            assert message in line


def _check_pages(client: httpx.Client) -> None:
    assert client.get("/health").json()["status"] == "ok"
    assert client.get("/model").json()["run"] == "first"
    for path in ("/", "/docs"):
        page = client.get(path)
        assert page.headers["content-type"].startswith("text/html")
        assert "https://" not in page.text  # it works without a network
        assert "http://" not in page.text


def _malformed() -> Iterator[tuple[dict[str, Any], int, str]]:
    """Yield requests with what is wrong with each: the status, and the field that must be named."""
    for name in COLUMNS:
        yield {"json": {"rows": [{key: value for key, value in ROW.items() if key != name}]}}, 422, name
        yield {"json": {"rows": [ROW, ROW | {name: {"a": 1}}]}}, 422, name
        yield {"json": {"rows": [ROW | {name: [1, 2]}]}}, 422, name
        yield {"json": {"rows": [ROW | {f"{name} ": 1}]}}, 422, f"{name} "
    for name in ("größe", "income"):
        yield {"json": {"rows": [ROW | {name: "tall"}]}}, 422, name
        for number in ("NaN", "Infinity", "-Infinity", "1e999"):
            yield {"content": json.dumps({"rows": [ROW | {name: "@"}]}).replace('"@"', number)}, 422, name
    for value in ("perhaps", 2, -1, "", 0.5):
        yield {"json": {"rows": [ROW | {"member": value}]}}, 422, "member"
    for value in ("yesterday", "2021-04-03", "31.02.2021", "3.4.21", 20210403):
        yield {"json": {"rows": [ROW | {"since": value}]}}, 422, "since"
    for rows in ([], [ROW] * 1001, ROW, "rows", None, 3):
        yield {"json": {"rows": rows}}, 422, "rows"
    yield {"json": {"rows": [3]}}, 422, "rows"
    yield {"json": {}}, 422, "rows"
    yield {"json": {"rows": [ROW], "more": 1}}, 422, "more"
    for content in ("", "{", '{"rows": [', "rows", "[]", "3", "null", b"\xff\xfe", "\x00"):
        yield {"content": content}, 422, "body"
    yield {"content": json.dumps({"rows": [ROW]}), "headers": {"content-type": "text/plain"}}, 422, "body"
    yield {"files": {"rows": b"1"}}, 422, "body"
    yield {"content": b" " * 600_000}, 413, "body"
    yield {"content": (b" " * 100_000 for _ in range(10))}, 413, "body"  # in chunks, without a length


def test_images_are_answered_or_refused(tmp_path: Path) -> None:
    project = render_into(tmp_path, task="image_classification", project_slug="seed", logger="csv")
    draw = np.random.default_rng(0)
    for number in range(CONCURRENT):
        path = project / "mine" / f"kind {number % 2}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(120 * (number % 2), 130 + 120 * (number % 2), (20, 30 + number % 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    _train_and_export(tmp_path, "image_classification", "--data.path", "mine", "--data.image_size", "16")
    expected = _as_rows(_expected(project, "print(json.dumps(run.predict('mine')))"))
    content = {row["file"]: (project / "mine" / row["file"]).read_bytes() for row in expected}
    with _server(project) as client:
        answers = _ask(client, [{"files": [("files", (row["file"], content[row["file"]]))]} for row in expected])
        _assert_same([answer.json()["predictions"][0] for answer in answers], expected)
        several = [("files", (name, data)) for name, data in content.items()]
        _assert_same(client.post("/predict", files=several).json()["predictions"], expected)
        _check_pages(client)
        bomb = io.BytesIO()
        Image.new("1", (20000, 20000)).save(bomb, "PNG")
        good = expected[0]["file"]
        for files, field in (
            ([("files", ("a.png", b"no image"))], "image"),
            ([("files", ("a.png", content[good][:60]))], "image"),
            ([("files", ("a.png", b""))], "image"),
            ([("files", ("a.png", bomb.getvalue()))], "image"),
            ([("files", (good, content[good])), ("files", ("b.png", b"no image"))], "image"),
            ([("other", (good, content[good]))], "files"),
            ([("files", (None, "text"))], "files"),
            ([("files", (good, content[good]))] * 101, "files"),
        ):
            answer = client.post("/predict", files=files)
            assert answer.status_code == 422, answer.text
            assert answer.json()["errors"][0]["field"] == field, answer.text
        assert client.post("/predict", json={"files": []}).status_code == 422
        garbage = {"content": b"garbage", "headers": {"content-type": "multipart/form-data; boundary=x"}}
        assert client.post("/predict", **garbage).json()["errors"][0]["field"] == "body"


def test_prompts_are_continued_or_refused(tmp_path: Path) -> None:
    project = render_into(tmp_path, task="language_model", project_slug="seed", logger="csv")
    (project / "my.txt").write_text("the café serves crème brûlée at noon. " * 200, encoding="utf-8")
    _train_and_export(tmp_path, "language_model", "--data.path", "my.txt")
    prompts = [f"{word} {ending}" for word in ("the", "a", "noon", "café") for ending in "acefh"]
    greedy = {"top_k": 1, "new_tokens": 12}
    settings = ", ".join(f"{name}={value}" for name, value in greedy.items())
    expected = _expected(project, f"print(json.dumps(run.predict(prompts={prompts!r}, {settings})))")["continuation"]
    with _server(project) as client:
        asked = [prompts[number % len(prompts)] for number in range(CONCURRENT)]
        answers = _ask(client, [{"json": {"prompt": prompt, **greedy}} for prompt in asked], "/stream")
        assert [answer.text for answer in answers] == [expected[prompts.index(prompt)] for prompt in asked]
        answer = client.post("/predict", json={"prompts": prompts[:16], **greedy}).json()["predictions"]
        assert answer == [{"prompt": p, "continuation": e} for p, e in zip(prompts[:16], expected, strict=False)]
        seeded = {"json": {"prompt": "the", "seed": 3, "new_tokens": 30}}
        assert client.post("/stream", **seeded).text == client.post("/stream", **seeded).text
        with client.stream("POST", "/stream", **seeded) as stream:
            assert len(list(stream.iter_raw())) > 1  # it comes piece by piece
        _check_pages(client)
        for changed, field in (
            ({"prompt": ""}, "prompt"),
            ({"prompt": "漢"}, "prompt"),
            ({"prompt": 3}, "prompt"),
            ({"prompt": "the " * 30_000}, "prompt"),
            ({"new_tokens": -1}, "new_tokens"),
            ({"new_tokens": 1e9}, "new_tokens"),
            ({"new_tokens": "many"}, "new_tokens"),
            ({"temperature": 0}, "temperature"),
            ({"top_k": 0}, "top_k"),
            ({"seed": -1}, "seed"),
            ({"more": 1}, "more"),
        ):
            answer = client.post("/stream", json={"prompt": "the", **changed})
            assert answer.status_code == 422, answer.text
            assert field in {error["field"] for error in answer.json()["errors"]}, answer.text
        for wrong in ([], "the", ["the"] * 17, [""], ["the", "漢"], [3]):
            answer = client.post("/predict", json={"prompts": wrong})
            assert answer.status_code == 422, answer.text
            assert answer.json()["errors"][0]["field"] in ("prompts", "prompt"), answer.text
