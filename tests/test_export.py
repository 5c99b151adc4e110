"""`export`: what leaves PyTorch predicts the same, in an environment without it, or is not written."""

import csv
import datetime
import io
import json
import math
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
import yaml
from PIL import Image

from conftest import CHOICES, REPO, in_project, render_into

OWN = REPO / "tests" / "first_hour"
LIGHT = ("flatbuffers*", "google", "numpy*", "onnxruntime*", "packaging*", "protobuf*")  # all that predict.py needs
TARGET = {"regression": "price", "classification": "grade"}


@pytest.fixture(scope="session")
def light(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pythons with NumPy and ONNX Runtime alone, and with Pillow."""
    pythons = {}
    for name, packages in (("plain", LIGHT), ("images", (*LIGHT, "PIL", "[pP]illow*"))):
        folder = tmp_path_factory.mktemp(name)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        [own] = folder.glob("lib/python3*/site-packages")
        installed = Path(sysconfig.get_paths()["purelib"])
        for path in {path for pattern in packages for path in installed.glob(pattern)}:
            (own / path.name).symlink_to(path)
        pythons[name] = folder / "bin" / "python"
    return pythons


def _run(python: Path, *command: str | Path, fails: bool = False) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run([python, *command], capture_output=True, text=True, check=False, env=environment)
    assert (result.returncode != 0) == fails, result.stdout + result.stderr
    return result.stderr if fails else result.stdout


def _project(folder: Path, task: str) -> Path:
    return render_into(folder, task=task, project_slug="seed", logger="csv")


def _commands(project: Path, *commands: Sequence[str]) -> list[str]:
    """Run command lines of a project one after another, in one process, and return what they print."""
    script = "import json, sys; from seed.train import main; [main(command) for command in json.loads(sys.argv[1])]"
    return in_project(project, "-c", script, json.dumps(commands)).stdout.splitlines()


def _fit(*options: str) -> list[str]:
    quick = ["--trainer.accelerator", "cpu", "--config", "configs/smoke.yaml", "--trainer.max_epochs", "3"]
    return ["fit", "--name", "first", *quick, *options]


def _table(path: Path) -> None:
    """Write a table as people have them: gaps, dates, decimal commas, codes, a class and a number to predict."""
    draw = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["größe", "income", "since", "color", "member", "zip", "stars", "price", "grade"])
        for _ in range(120):
            size, day = draw.gauss(170, 10), datetime.date(2020, 1, 1) + datetime.timedelta(draw.randrange(1500))
            row = [
                f"{size:.1f}".replace(".", ",") if draw.random() > 0.1 else "NA",
                f"{draw.randrange(1000, 90000):,}".replace(",", ".") + ",5",
                day.strftime("%d.%m.%Y") if draw.random() > 0.05 else "",
                draw.choice(["red", "blue", "green", "gone", ""]),
                draw.choice(["true", "false"]),
                f"0{draw.randrange(3)}123",
                draw.choice(["1,0", "1,5", "2"]),
            ]
            writer.writerow([*row, f"{2 * size:.2f}".replace(".", ","), "high" if size > 170 else "low"])


def _images(folder: Path) -> None:
    """Save images of many kinds, in two classes."""
    draw = np.random.default_rng(0)
    for number in range(30):
        path = folder / ("light" if number % 2 else "dark") / f"{number}.{'jpg' if number % 3 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(100 * (number % 2), 100 + 150 * (number % 2), (40 + number, 70, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        if number % 5 == 0:
            image = image.convert("L" if number % 3 else "RGBA")
        exif = Image.Exif()
        exif[0x0112] = 6 if number % 4 == 1 else 1  # lies on its side
        image.save(path, exif=exif)


def _columns(text: str) -> dict[str, list[str]]:
    rows = list(csv.DictReader(io.StringIO(text)))
    return {name: [row[name] for row in rows] for name in rows[0]}


def _assert_agree(found: dict[str, list[Any]], expected: dict[str, list[Any]]) -> None:
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert len(found[name]) == len(values)
        for one, other in zip(found[name], values, strict=True):
            try:
                assert math.isclose(float(one), float(other), rel_tol=1e-4, abs_tol=1e-5), name
            except ValueError:
                assert one == other, name


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_table_is_predicted_without_pytorch_as_with_it(task: str, tmp_path: Path, light: dict[str, Path]) -> None:
    project = _project(tmp_path, task)
    _table(project / "my.csv")
    others = [name for name in TARGET.values() if name != TARGET[task]]
    data = ["--data.path", "my.csv", "--data.target", TARGET[task], "--data.exclude", json.dumps(others)]
    data += ["--data.categorical", '["stars"]', "--data.missing_values", '["", "NA", "gone"]']
    printed = _commands(project, _fit(*data), ["predict"], ["export"])
    assert printed[-1] == "runs/first/export"
    assert printed[-2].startswith("ONNX Runtime agrees with PyTorch on 18 validation rows, in batches of 1, 2, 17;")
    expected = _columns((project / "runs/first/predictions.csv").read_text())
    handed_on = shutil.copytree(project / "runs/first/export", tmp_path / "handed_on")
    assert {path.name for path in handed_on.iterdir()} == {"model.onnx", "model.json", "predict.py"}
    _assert_agree(_columns(_run(light["plain"], handed_on / "predict.py", project / "my.csv")), expected)
    assert "No module named 'torch'" in _run(light["plain"], "-c", "import torch", fails=True)

    about = json.loads((handed_on / "model.json").read_text())
    assert [column["name"] for column in about["columns"]] == [
        "größe",
        "income",
        "member",
        "since",
        "color",
        "zip",
        "stars",
    ]
    assert about["parity"]["rows"] == 18
    assert about["parity"]["largest_difference"] < 1
    assert about["example"]["color"] in ("red", "blue", "green")  # "gone" stands for a missing value
    for old, new, message in (
        ("color", "colour", "error: color: no such column in the data"),
        ("true", "perhaps", ": member: holds 'perhaps', which is neither true nor false"),
        (",5;", ",5x;", "5x', which is not a number"),
        ("2021;", "2021!;", "2021!', which is not a date such as 31.12.2026"),
    ):
        bad = tmp_path / "bad.csv"
        bad.write_text((project / "my.csv").read_text().replace(old, new))
        [line] = _run(light["plain"], handed_on / "predict.py", bad, fails=True).splitlines()
        assert message in line
    # A category that was never seen has a code of its own, as in `predict`.
    unseen = project / "unseen.csv"
    unseen.write_text((project / "my.csv").read_text().replace("red", "purple"))
    _commands(project, ["predict", "--data.path", "unseen.csv"])
    expected = _columns((project / "runs/first/predictions.csv").read_text())
    _assert_agree(_columns(_run(light["plain"], handed_on / "predict.py", unseen)), expected)


def test_decimals_and_output_that_nobody_reads_to_its_end(tmp_path: Path, light: dict[str, Path]) -> None:
    project = _project(tmp_path, "regression")
    prices = [Decimal(number) / 100 for number in range(100)]
    polars.DataFrame({"size": prices, "price": [3 * float(price) for price in prices]}).write_parquet(
        project / "my.parquet"
    )
    _commands(project, _fit("--data.path", "my.parquet", "--data.target", "price"), ["export"])
    (tmp_path / "many.csv").write_text("size\n" + "0.5\n" * 20_000)  # more than a pipe holds
    command = [light["plain"], project / "runs/first/export/predict.py", tmp_path / "many.csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"row,price\n"
        process.stdout.close()  # as `head -1` does
        assert (process.stderr.read(), process.wait()) == (b"", 1)


def test_images_are_predicted_without_pytorch_as_with_it(tmp_path: Path, light: dict[str, Path]) -> None:
    """A trained ResNet, whose BatchNorm exporters fuse into its convolutions."""
    project = _project(tmp_path, "image_classification")
    _images(project / "mine")
    own = ("--data.path", "mine", "--data.image_size", "32", "--model.network", "resnet18")
    _commands(project, _fit(*own), ["export", "runs/first"], ["predict"])
    expected = _columns((project / "runs/first/predictions.csv").read_text())
    folder = project / "runs/first/export"
    paths = [str(project / "mine" / name) for name in expected["file"]]
    found = _columns(_run(light["images"], folder / "predict.py", *paths))
    _assert_agree(found, expected | {"file": paths})
    for path in ("predict.py", "none.png"):
        [line] = _run(light["images"], folder / "predict.py", folder / path, fails=True).splitlines()
        assert line.startswith(f"error: {folder / path}: ")
    assert "image files need Pillow" in _run(light["plain"], folder / "predict.py", paths[0], fails=True)


@pytest.mark.parametrize("tokens", ["characters", "bytes"])
def test_a_text_is_continued_without_pytorch_as_with_it(tokens: str, tmp_path: Path, light: dict[str, Path]) -> None:
    project = _project(tmp_path, "language_model")
    (project / "my.txt").write_text("The naïve café serves crème brûlée. " * 200, encoding="utf-8")
    _commands(project, _fit("--data.path", "my.txt", "--data.tokens", tokens), ["export"])
    about = json.loads((project / "runs/first/export/model.json").read_text())
    prompts = ["The na", "T", "crème brûlée. " * 30]  # one token, and more than the context
    assert len(prompts[2]) > about["text"]["block_size"]
    script = "import json, sys; from seed import load_run; prompts = json.loads(sys.argv[1]);"
    script += "print(json.dumps(load_run('runs/first').predict(prompts=prompts, top_k=1, new_tokens=40)))"
    expected = json.loads(in_project(project, "-c", script, json.dumps(prompts)).stdout)
    script = "import json, sys; sys.path.insert(0, sys.argv[1]); from predict import Predictor;"
    script += "prompts = json.loads(sys.argv[2]);"
    script += "print(json.dumps(Predictor(sys.argv[1]).predict(prompts, top_k=1, new_tokens=40)))"
    folder = project / "runs/first/export"
    assert json.loads(_run(light["plain"], "-c", script, folder, json.dumps(prompts))) == expected
    assert len(_columns(_run(light["plain"], folder / "predict.py", "The"))["continuation"]) == 1
    assert "error: prompt: is empty" in _run(light["plain"], folder / "predict.py", "", fails=True)


@pytest.mark.parametrize("task", CHOICES["task"])
def test_a_model_and_data_from_scratch_are_exported(task: str, tmp_path: Path, light: dict[str, Path]) -> None:
    project = _project(tmp_path, task)
    shutil.copy(OWN / f"{task}_model.py", project / "src/seed/own.py")
    shutil.copy(OWN / f"{task}_data.py", project / "src/seed/own_data.py")
    own = {"model": {"class_path": "seed.own.OwnModel"}, "data": {"class_path": "seed.own_data.OwnData"}}
    arguments = {"classification": {"num_classes": 3}, "language_model": {"vocab_size": 256}}
    own["model"] |= {"init_args": arguments.get(task, {})}
    (project / "configs/own.yaml").write_text(yaml.safe_dump(own))
    _commands(project, _fit("--config", "configs/own.yaml"), ["export"])
    about = json.loads((project / "runs/first/export/model.json").read_text())
    assert about["kind"] == "arrays"
    assert about["parity"]["rows"] == 32
    script = """
        import json, sys, numpy, torch
        from seed import load_run
        run = load_run("runs/first")
        batches = [batch if isinstance(batch, list) else [batch] for batch in run.datamodule.val_dataloader()]
        inputs = [torch.cat(parts) for parts in zip(*batches)][: len(sys.argv) - 1]
        numpy.savez("rows.npz", **{name: rows.numpy() for name, rows in zip(sys.argv[1:], inputs)})
        outputs = run.model.forward(*inputs).flatten(1).T.tolist()
        print(json.dumps(outputs))
    """
    names = [given["name"] for given in about["inputs"]]
    expected = json.loads(in_project(project, "-c", textwrap.dedent(script), *names).stdout.splitlines()[-1])
    found = _columns(_run(light["plain"], project / "runs/first/export/predict.py", project / "rows.npz"))
    columns = ["prediction"] if len(expected) == 1 else [f"prediction_{number}" for number in range(len(expected))]
    _assert_agree({name: found[name] for name in columns}, dict(zip(columns, expected, strict=True)))


def test_what_cannot_be_exported_or_differs_is_refused_in_a_line(tmp_path: Path) -> None:
    project = _project(tmp_path, "regression")
    shutil.copy(OWN / "regression_model.py", project / "src/seed/own.py")
    shutil.copy(OWN / "regression_data.py", project / "src/seed/own_data.py")
    own = {"model": {"class_path": "seed.own.OwnModel"}, "data": {"class_path": "seed.own_data.OwnData"}}
    (project / "configs/own.yaml").write_text(yaml.safe_dump(own))
    _commands(project, _fit("--config", "configs/own.yaml"))
    script = """
        import sys, tempfile, torch
        import seed.own, seed.own_data
        from seed.export.__main__ import main

        y = lambda self, x: self.head(self.body(x).relu())
        forwards = {
            "decides by the values": lambda self, x: y(self, x) if x.sum() > 0 else -y(self, x),
            "forward works for batches of 8 rows only": lambda self, x: y(self, x) + torch.zeros(len(x), 1),
            "differs from PyTorch, so nothing was written: in batches of 1: prediction of row": (
                lambda self, x: y(self, x) + torch.rand(x.shape[0], 1)
            ),
            "in batches of 1: prediction of": lambda self, x: y(self, x) - y(self, x).mean(),
            "it returns a str, not tensors": lambda self, x: ["a"] * x.shape[0],
            "its forward must take the tensors of a batch as arguments": lambda self, *args: y(self, args[0]),
            "forward takes x, y, z, but": lambda self, x, y, z: x,
            "No ONNX function found for": lambda self, x: torch.linalg.eigvals(x[:, :4].reshape(-1, 2, 2)).real,
        }
        for message, forward in forwards.items():
            seed.own.OwnModel.forward = forward
            try:
                main([])
            except SystemExit as end:
                print("ok" if str(end.code).startswith("error: ") and message in str(end.code) else end.code)
            else:
                print(message, "was exported")
        seed.own.OwnModel.forward = y
        own_data = seed.own_data.OwnData
        val_dataloader = own_data.val_dataloader

        def refuse(*args, **kwargs):
            raise OSError(30, "Read-only file system")

        def attempt():
            try:
                main([])
            except (SystemExit, OSError) as end:
                print(end)

        del own_data.val_dataloader, own_data.predict_dataloader
        attempt()
        own_data.val_dataloader = lambda self: []
        attempt()
        own_data.val_dataloader = lambda self: torch.utils.data.DataLoader([])
        attempt()
        own_data.val_dataloader, own_data.setup = val_dataloader, refuse
        attempt()
        del own_data.setup
        tempfile.mkdtemp = refuse
        attempt()
        sys.modules["onnxscript"] = None
        try:
            main(["first"])
        except SystemExit as end:
            print(end.code)
    """
    result = in_project(project, "-c", textwrap.dedent(script))
    *others, last = result.stdout.splitlines()
    none = "error: the datamodule has neither validation data nor data to predict, to check the export by"
    assert others == [
        *["ok"] * 8,
        none,
        none,
        "error: the data to check the export by hold no batch",
        "[Errno 30] Read-only file system",  # an error of the owner's code comes as it is
        "error: runs/first: cannot be written: Read-only file system",
    ]
    assert last.startswith("error: onnxscript not installed: python -m pip install --group export")
    assert result.stderr == ""
    assert {path.name for path in (project / "runs/first").iterdir()}.isdisjoint({"export"})
    assert not [path for path in (project / "runs/first").iterdir() if path.name.startswith(".")]
