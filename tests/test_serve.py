"""`serve`: a server without PyTorch answers as `run.predict`, refuses every malformed request, and stops in silence."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from PIL import Image

from conftest import REPO, in_project, render_into
from test_export import _commands, _fit, _table

# Prints at the end whether the server has imported what it must do without.
SERVE = """
import atexit, sys
from seed.serve.__main__ import main
atexit.register(lambda: print(sorted({"torch", "lightning"} & set(sys.modules))))
main(sys.argv[1:])
"""
REQUESTS = 100
OWN = "own"  # a model and data from scratch
CHARACTERS = "The quick brown fox jumps over the lazy dog. "


def _export(folder: Path, task: str) -> Path:
    """Render a project, train it shortly on data as people have them, and export the run."""
    project = render_into(folder, task="regression" if task == OWN else task, project_slug="seed", logger="csv")
    options: list[str] = []
    if task in ("regression", "classification"):
        _table(project / "my.csv")
        target, other = ("price", "grade") if task == "regression" else ("grade", "price")
        options = ["--data.path", "my.csv", "--data.target", target, "--data.exclude", f'["{other}"]']
        options += ["--data.categorical", '["stars"]']
    elif task == "language_model":
        (project / "my.txt").write_text(CHARACTERS * 200)
        options = ["--data.path", "my.txt"]
    elif task == OWN:
        for name, file in (("own", "model"), ("own_data", "data")):
            shutil.copy(REPO / f"tests/first_hour/regression_{file}.py", project / f"src/seed/{name}.py")
        own = {"model": {"class_path": "seed.own.OwnModel"}, "data": {"class_path": "seed.own_data.OwnData"}}
        (project / "configs/own.yaml").write_text(yaml.safe_dump(own))
        options = ["--config", "configs/own.yaml"]
    quick = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "4"]
    _commands(project, _fit(*options, *quick), ["export"])
    return project


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a project by its task, trained and exported once."""
    made: dict[str, Path] = {}

    def project(task: str) -> Path:
        if task not in made:
            made[task] = _export(tmp_path_factory.mktemp(task), task)
        return made[task]

    return project


@contextmanager
def _process(project: Path, *command: str | Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(project / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(r"serving \S+ at (http://\S+) \(API: \S+/docs\); Ctrl-C stops it\n", line)
    assert found, line + process.communicate()[1]
    return found[1]


@contextmanager
def _served(project: Path, *options: str) -> Iterator[httpx.Client]:
    """Serve a run; at the end, the server must stop with status 0, without PyTorch and without a word."""
    with _process(project, sys.executable, "-c", SERVE, "--port", "0", *options) as process:
        with httpx.Client(base_url=_address(process), timeout=60, trust_env=False) as client:
            yield client
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "[]\n", "")


def _assert_close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        close = pytest.approx(value, rel=1e-4, abs=1e-5) if isinstance(value, float) else value
        assert found[name] == close, name


def _rows_of(table: Path) -> list[dict[str, Any]]:
    """Read the table as JSON holds it: numbers, true and false, and null."""
    with table.open(encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file, delimiter=";"))
    for row in rows:
        del row["price"], row["grade"]
        row |= {name: None for name, value in row.items() if value in ("", "NA")}
        row["member"] = row["member"] == "true"
        for name in ("größe", "income"):
            row[name] = row[name] and float(row[name].replace(".", "").replace(",", "."))
    return rows


def _expected(project: Path, *lines: str) -> list[dict[str, Any]]:
    """Return the rows of the columns that lines of Python find for the run, in the project."""
    code = [
        "import json",
        "from seed import load_run",
        "run = load_run('runs/first')",
        *lines,
        "print(json.dumps(columns))",
    ]
    columns = json.loads(in_project(project, "-c", "\n".join(code)).stdout.splitlines()[-1])
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _ask_all(ask: Callable[[int], httpx.Response]) -> list[Any]:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(REQUESTS)))
    assert {answer.status_code for answer in answers} == {200}
    return [answer.json() for answer in answers]


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_concurrent_rows_are_answered_as_by_run_predict(task: str, exported: Callable[[str], Path]) -> None:
    project = exported(task)
    # The last rows hold a category that was not in the training rows.
    header, *lines = (project / "my.csv").read_text(encoding="utf-8").splitlines()
    unseen = [re.sub("red|blue|green", "purple", line) for line in lines[:20]]
    (project / "asked.csv").write_text("\n".join([header, *lines, *unseen]) + "\n", encoding="utf-8")
    rows = _rows_of(project / "asked.csv")
    expected = _expected(project, "columns = run.predict('asked.csv')")
    with _served(project) as client:
        for number, answer in enumerate(_ask_all(lambda number: client.post("/predict", json=rows[number + 40]))):
            _assert_close(answer, expected[number + 40])
        for found, answer in zip(client.post("/predict", json=rows).json(), expected, strict=True):
            _assert_close(found, answer)
        about = client.get("/model").json()
        schema = client.get("/openapi.json").json()["components"]["schemas"]["Row"]
        assert list(schema["properties"]) == [column["name"] for column in about["columns"]] == schema["required"]
        assert client.post("/predict", json=about["example"]).status_code == 200


def test_concurrent_images_are_answered_as_by_run_predict(exported: Callable[[str], Path]) -> None:
    project = exported("image_classification")
    draw = np.random.default_rng(0)
    (project / "new").mkdir()
    for number in range(REQUESTS):
        pixels = draw.integers(0, 256, (9 + number, 12), dtype=np.uint8)
        Image.fromarray(pixels).save(project / f"new/{number:03}.{'png' if number % 2 else 'webp'}")
    files = sorted((project / "new").iterdir())
    expected = _expected(project, "columns = run.predict(path='new')")
    with _served(project) as client:

        def ask(number: int) -> httpx.Response:
            return client.post("/predict", files=[("images", (files[number].name, files[number].read_bytes()))])

        for [answer], row in zip(_ask_all(ask), expected, strict=True):
            _assert_close(answer, row)
        several = [("images", (file.name, file.read_bytes())) for file in files[:20]]
        for found, row in zip(client.post("/predict", files=several).json(), expected[:20], strict=True):
            _assert_close(found, row)


def test_concurrent_prompts_are_answered_as_by_run_predict(exported: Callable[[str], Path]) -> None:
    project = exported("language_model")
    prompts = [CHARACTERS[number % 40 :][:5] for number in range(REQUESTS)]
    expected = _expected(project, f"columns = run.predict(prompts={prompts}, top_k=1, new_tokens=8)")
    script = "import json; from seed.export.predict import Predictor; predictor = Predictor('runs/first/export');"
    script += f"print(json.dumps([''.join(predictor.generate(p, 8, seed=n)) for n, p in enumerate({prompts})]))"
    sampled = json.loads(in_project(project, "-c", script).stdout)
    with _served(project) as client:
        ask = {"top_k": 1, "new_tokens": 8}
        answers = _ask_all(lambda number: client.post("/predict", json={"prompt": prompts[number], **ask}))
        assert answers == expected
        several = [{"prompt": prompt, **ask} for prompt in prompts[:10]]
        assert client.post("/predict", json=several).json() == expected[:10]
        for number in range(0, REQUESTS, 20):
            seeded = {"prompt": prompts[number], "new_tokens": 8, "seed": number}
            assert client.post("/predict", json=seeded).json()["continuation"] == sampled[number]
            with client.stream("POST", "/predict/stream", json=seeded) as response:
                pieces = list(response.iter_text())
            assert "".join(pieces) == sampled[number]
            assert len(pieces) > 1


def test_concurrent_arrays_of_a_model_from_scratch_are_answered_as_by_pytorch(exported: Callable[[str], Path]) -> None:
    project = exported(OWN)
    rows = np.random.default_rng(0).normal(size=(REQUESTS, 6)).tolist()
    find = f"columns = {{'prediction': run.model(torch.tensor({rows})).flatten().tolist()}}"
    expected = _expected(project, "import torch", find)
    with _served(project) as client:
        for answer, row in zip(_ask_all(lambda n: client.post("/predict", json={"x": rows[n]})), expected, strict=True):
            _assert_close(answer, row)


Case = tuple[str, dict[str, Any], str]  # what is wrong, the request, and the field that the answer must name
JSON = {"content-type": "application/json"}


def _json(content: str | bytes) -> dict[str, Any]:
    return {"content": content, "headers": JSON}


def _chunks() -> Iterator[bytes]:
    """A body that does not say how large it is."""
    yield from [b"[" + b" " * 10_000] * 30


def _bad_bodies() -> list[Case]:
    """What is wrong for every model that takes JSON."""
    return [
        ("empty body", _json(""), "body"),
        ("truncated JSON", _json('{"a": 1, "b'), "body"),
        ("not UTF-8", _json(b'{"\xff": 1}'), "body"),
        ("a number with too many digits", _json(f"[{'9' * 5000}]"), "body"),
        ("JSON in JSON in JSON", _json("[" * 100_000), "body"),
        ("a text", {"json": "text"}, "body"),
        ("null", {"json": None}, "body"),
        ("a list of texts", {"json": ["text"]}, "body"),
        ("another content type", {"content": "{}", "headers": {"content-type": "text/plain"}}, "body"),
        ("no content type", {"content": "{}"}, "body"),
        ("a form", {"data": {"a": "1"}}, "body"),
        ("too large", _json(b" " * 300_000), "body"),
        ("too large, in chunks", _json(_chunks()), "body"),  # type: ignore[arg-type]
        ("half a surrogate pair as a name", _json('{"\\ud800": 1}'), "body"),
    ]


def _bad_rows(row: dict[str, Any]) -> list[Case]:
    def but(**changed: Any) -> dict[str, Any]:
        return {"json": row | changed}

    def text(name: str, value: str) -> dict[str, Any]:
        return _json(json.dumps(row | {name: "HERE"}).replace('"HERE"', value))

    without = {name: value for name, value in row.items() if name != "income"}
    return [
        ("text for a number", but(income="12"), "income"),
        ("true for a number", but(income=True), "income"),
        ("list for a number", but(income=[1]), "income"),
        ("object for a number", but(income={"a": 1}), "income"),
        ("NaN", text("income", "NaN"), "income"),
        ("Infinity", text("größe", "-Infinity"), "größe"),
        ("a number beyond float64", text("income", "1e999"), "income"),
        ("a number beyond float32", text("income", "1e308"), "price"),  # the prediction is not finite
        ("a large integer", text("income", "9" * 400), "income"),
        ("number for a date", but(since=2021), "since"),
        ("text for a date", but(since="soon"), "since"),
        ("a day that does not exist", but(since="31.02.2021"), "since"),
        ("a date of another form", but(since="2021-02-01"), "since"),
        ("number for a boolean", but(member=1), "member"),
        ("text for a boolean", but(member="true"), "member"),
        ("number for a category of texts", but(zip=2123), "zip"),
        ("list for a category", but(color=["red"]), "color"),
        ("missing column", {"json": without}, "income"),
        ("unknown column", but(colour="red"), "colour"),
        ("a column named like a method", but(model_dump=1), "model_dump"),
        ("wrong in the third of three", {"json": [row, row, row | {"income": "x"}]}, "income"),
        ("a date in the third of three", {"json": [row, row, row | {"since": "x"}]}, "since"),
        ("too many rows", {"json": [{}] * 1001}, "body"),
        ("rows in an object", {"json": {"rows": [row]}}, "rows"),
    ]


def _bad_prompts() -> list[Case]:
    good = {"prompt": "The"}
    return [
        ("no prompt", {"json": {}}, "prompt"),
        ("empty prompt", {"json": {"prompt": ""}}, "prompt"),
        ("number for a prompt", {"json": {"prompt": 1}}, "prompt"),
        ("unknown character", {"json": {"prompt": "日本"}}, "prompt"),
        ("half a surrogate pair", _json('{"prompt": "\\ud800"}'), "prompt"),
        ("unknown character in the second", {"json": [good, {"prompt": "日本"}]}, "prompt"),
        ("long prompt", {"json": {"prompt": "T" * 20_001}}, "prompt"),
        ("negative new_tokens", {"json": good | {"new_tokens": -1}}, "new_tokens"),
        ("many new_tokens", {"json": good | {"new_tokens": 10**9}}, "new_tokens"),
        ("many new_tokens in all", {"json": [good | {"new_tokens": 1500}] * 2}, "new_tokens"),
        ("half a token", {"json": good | {"new_tokens": 1.5}}, "new_tokens"),
        ("temperature 0", {"json": good | {"temperature": 0}}, "temperature"),
        ("tiny temperature", {"json": good | {"temperature": 1e-300}}, "temperature"),
        ("text for a temperature", {"json": good | {"temperature": "hot"}}, "temperature"),
        ("top_k 0", {"json": good | {"top_k": 0}}, "top_k"),
        ("negative seed", {"json": good | {"seed": -1}}, "seed"),
        ("unknown option", {"json": good | {"beams": 3}}, "beams"),
    ]


def _bad_images() -> list[Case]:
    def encoded(image: Image.Image, kind: str) -> bytes:
        file = io.BytesIO()
        image.save(file, kind)
        return file.getvalue()

    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))
    png, jpeg = encoded(noise, "PNG"), encoded(noise, "JPEG")
    bomb = encoded(Image.new("1", (30_000, 30_000)), "PNG")  # 0.1 MB
    good = ("images", ("good.png", png))
    files = {
        "empty file": b"",
        "text": b"not an image",
        "truncated PNG": png[: len(png) // 2],
        "truncated JPEG": jpeg[:200],
        "PNG of which only the start is there": png[:16],
        "a file of 0.1 MB with 900 megapixels": bomb,
        "PostScript, which Pillow reads with another program": encoded(noise, "EPS"),
        "floating-point pixels": encoded(Image.fromarray(np.ones((8, 8), dtype=np.float32)), "TIFF"),
    }
    cases: list[Case] = [
        (what, {"files": [good, ("images", ("x.png", file))]}, "x.png") for what, file in files.items()
    ]
    return [
        *cases,
        ("another field", {"files": [("file", ("x.png", png))]}, "images"),
        ("text for a file", {"data": {"images": "x"}, "files": [("other", ("x.png", png))]}, "images[0]"),
        ("no file", {"data": {}}, "body"),
        ("JSON", {"json": {"images": []}}, "body"),
        ("too many images", {"files": [good] * 21}, "images"),
        ("no boundary", {"content": b"x", "headers": {"content-type": "multipart/form-data"}}, "body"),
        (
            "truncated form",
            {"content": b"--b\r\nContent-", "headers": {"content-type": "multipart/form-data; boundary=b"}},
            "images",
        ),
        ("too large", {"files": [("images", ("x.png", b" " * 300_000))]}, "body"),
    ]


def _bad_arrays() -> list[Case]:
    row = [0.0] * 6
    return [
        ("too short", {"json": {"x": row[1:]}}, "x"),
        ("too deep", {"json": {"x": [row]}}, "x[0]"),
        ("text for a number", {"json": {"x": [*row[1:], "a"]}}, "x[5]"),
        ("null for a number", {"json": {"x": [None, *row[1:]]}}, "x[0]"),
        ("beyond float32", {"json": {"x": [1e300, *row[1:]]}}, "x[0]"),
        ("NaN", _json('{"x": [NaN, 0, 0, 0, 0, 0]}'), "x[0]"),
        ("no input", {"json": {}}, "x"),
        ("unknown input", {"json": {"x": row, "y": row}}, "y"),
    ]


@pytest.mark.parametrize("task", ["regression", "language_model", "image_classification", OWN])
def test_malformed_requests_are_refused_with_the_field(task: str, exported: Callable[[str], Path]) -> None:
    project = exported(task)
    limits = ["--max_body_mb", "0.25"]
    if task == "image_classification":
        cases, good = _bad_images(), {"files": [("images", ("0.png", _digit()))]}
        limits += ["--max_rows", "20"]
    elif task == "regression":
        row = json.loads((project / "runs/first/export/model.json").read_text())["example"]
        cases, good = _bad_bodies() + _bad_rows(row), {"json": row}
    else:
        cases = _bad_bodies() + (_bad_arrays() if task == OWN else _bad_prompts())
        good = {"json": {"x": [0.0] * 6} if task == OWN else {"prompt": "The", "new_tokens": 1}}
    wrong = []
    with _served(project, *limits) as client:  # which also asserts that the server wrote no traceback
        for what, request, field in cases:
            answer = client.post("/predict", **request)
            problems = answer.json()["detail"] if 400 <= answer.status_code < 500 else []
            if not any(problem["field"] == field and problem["message"] for problem in problems):
                wrong.append(f"{what}: {answer.status_code} {answer.text}")
        assert client.post("/predict", **good).status_code == 200
        assert client.get("/predict").status_code == 405
        assert client.get("/nothing").status_code == 404
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)
    assert len(cases) >= 16


def _digit() -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "PNG")
    return file.getvalue()


def test_status_and_row_of_a_refusal(exported: Callable[[str], Path]) -> None:
    row = _rows_of(exported("regression") / "my.csv")[0]
    with _served(exported("regression"), "--max_body_mb", "0.25") as client:
        for request, status, number in (
            ({"json": [row, row | {"income": "x"}]}, 422, 2),
            ({"json": [row, row, row | {"since": "x"}]}, 422, 3),
            ({"json": row | {"since": "x"}}, 422, None),
            ({"content": "{}"}, 415, None),
            (_json(b" " * 300_000), 413, None),
        ):
            answer = client.post("/predict", **request)
            [problem] = answer.json()["detail"]
            assert (answer.status_code, problem["row"]) == (status, number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_in_silence(number: signal.Signals, exported: Callable[[str], Path]) -> None:
    """Also while a text is sampled, whole or as a stream, that would take many minutes."""
    project = exported("language_model")
    options = ("--port", "0")
    with _process(project, sys.executable, "-m", "seed.serve", "runs/first", *options) as process:
        ask = {"prompt": "The", "new_tokens": 2000}
        with (
            httpx.Client(base_url=_address(process), timeout=120, trust_env=False) as client,
            ThreadPoolExecutor(1) as pool,
        ):
            whole = pool.submit(client.post, "/predict", json=ask)
            with client.stream("POST", "/predict/stream", json=ask) as response:
                next(response.iter_raw())
                process.send_signal(number)
                out, err = process.communicate(timeout=60)
            assert whole.exception() or whole.result().status_code == 500
        assert (process.returncode, out, err) == (0, "", "")


def test_what_cannot_be_served_is_said_in_a_line(exported: Callable[[str], Path]) -> None:
    project = exported("regression")
    shutil.copytree(project / "runs/first", project / "runs/raw", ignore=shutil.ignore_patterns("export"))
    os.utime(project / "runs/raw/config.yaml", (1, 1))  # other tests serve the newest run
    foreign = shutil.copytree(project / "runs/first/export", project / "foreign")
    about = json.loads((foreign / "model.json").read_text())
    (foreign / "model.json").write_text(json.dumps(about | {"project": "other"}))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for options, message in (
            (["first", "--port", port], f"--port {port}: is taken by another program; choose another, or 0 for any"),
            (["raw"], "runs/raw is not exported; first: python -m seed.export runs/raw"),
            (["runs/none"], "runs/none: no such run; runs has raw, first"),
            (["foreign"], "foreign was exported by the project other; serve it there"),
            (["first", "--host", "192.0.2.1"], "--host 192.0.2.1: cannot assign requested address"),
            (["first", "--port", "70000"], "--port 70000: is out of range (--help lists the options)"),
            (["first", "--max_rows", "0"], "--max_rows 0: must be 1 or more (--help lists the options)"),
        ):
            command = [sys.executable, "-m", "seed.serve", *options]
            with _process(project, *command) as process:
                out, err = process.communicate(timeout=60)
            assert process.returncode != 0
            assert (out, err) == ("", f"error: {message}\n")


def _steps(dockerfile: Path) -> Iterator[tuple[str, str]]:
    for line in dockerfile.read_text().replace("\\\n", " ").splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            yield word, rest


def test_steps_of_the_dockerfile_serve_a_run_without_pytorch(exported: Callable[[str], Path], tmp_path: Path) -> None:
    """In a new environment, in place of the image."""
    project = exported("image_classification")
    context, image = tmp_path / "context", tmp_path / "image"
    kept = [line[1:] for line in (project / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for path in [path for pattern in kept for path in project.glob(pattern)]:
        copy = shutil.copytree if path.is_dir() else shutil.copy
        (context / path.relative_to(project)).parent.mkdir(parents=True, exist_ok=True)
        copy(path, context / path.relative_to(project))
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    image.mkdir()
    environment = os.environ | {"PATH": f"{tmp_path / 'venv/bin'}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)
    steps = list(_steps(project / "Dockerfile"))
    assert [word for word, _ in steps if word == "USER"]
    variables: dict[str, str] = {}
    for word, rest in steps:
        for name, value in variables.items():
            rest = rest.replace(f"${{{name}}}", value)
        if word == "ENV":
            environment |= dict(pair.split("=") for pair in rest.split())
        elif word == "ARG":
            variables |= dict([rest.split("=")])
        elif word == "RUN":
            subprocess.run(rest, shell=True, cwd=image, env=environment, check=True)
        elif word == "COPY":
            source, target = rest.split()
            (shutil.copytree if (context / source).is_dir() else shutil.copy)(context / source, image / target)
    [check] = [rest.partition("CMD ")[2] for word, rest in steps if word == "HEALTHCHECK"]
    [command] = [json.loads(rest) for word, rest in steps if word == "CMD"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    process = subprocess.Popen(
        [*command, "--port", port], cwd=image, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("serving model at http://0.0.0.0:")
        subprocess.run(shlex.split(check.replace("8000", port)), env=environment, check=True)
        url = f"http://127.0.0.1:{port}/predict"
        answer = httpx.post(url, files=[("images", ("0.png", _digit()))], trust_env=False)
        assert answer.json()[0]["file"] == "0.png"
        lacking = subprocess.run(["python", "-c", "import torch"], env=environment, capture_output=True, text=True)
        assert "No module named 'torch'" in lacking.stderr
    finally:
        process.terminate()
        process.communicate()
    assert process.returncode == 0
