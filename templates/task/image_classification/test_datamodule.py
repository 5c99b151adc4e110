"""The data: the same split every time, nothing varied of what judges, and clear words for bad files."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from lit_project import load_run
from lit_project.datamodule import LitDataModule, read_image
from lit_project.engine.errors import InputError
from lit_project.train import main

COLOURS = {"blue": (0, 0, 255), "green": (0, 200, 0), "red": (255, 0, 0)}


def _ready(**arguments: Any) -> LitDataModule:
    datamodule = LitDataModule(**arguments)
    datamodule.setup("fit")
    return datamodule


def _folder(folder: Path, suffix: str = ".png", count: int = 7) -> Path:
    path = folder / "images"
    for name, colour in COLOURS.items():
        (path / name / "more").mkdir(parents=True)
        for number in range(count):
            image = Image.new("RGB", (20 + number, 30), colour)
            image.save(path / name / ("more" if number % 2 else ".") / f"{number}{suffix}")
    return path


def test_a_batch_has_the_documented_shape_and_type() -> None:
    x, y = next(iter(_ready().train_dataloader()))
    assert (x.shape, y.shape) == ((64, 1, 8, 8), (64,))
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)


def test_the_splits_are_disjoint_and_complete() -> None:
    splits = _ready().splits
    rows = torch.cat(list(splits.values())).tolist()
    assert sorted(rows) == list(range(1797))
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 1259, "val": 269, "test": 269}


def test_the_split_is_the_same_every_time() -> None:
    assert torch.equal(_ready().splits["test"], _ready().splits["test"])
    assert not torch.equal(_ready().splits["test"], _ready(split_seed=1).splits["test"])


def test_training_comes_in_a_new_order_each_epoch_unless_asked_otherwise() -> None:
    loader = _ready(augment=False).train_dataloader()
    assert not torch.equal(next(iter(loader))[0], next(iter(loader))[0])
    loader = _ready(augment=False, shuffle=False).train_dataloader()
    assert torch.equal(next(iter(loader))[0], next(iter(loader))[0])


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".gif"])
def test_your_own_data_is_taken_by_config_alone(workdir: Path, suffix: str) -> None:
    path = _folder(workdir, suffix)
    own = ["--data.path", str(path), "--trainer.accelerator", "cpu"]
    main(["fit", "--name", "own", "--config", "configs/smoke.yaml", *own])
    main(["test"])
    new = workdir / "new"  # without classes, of another size and format
    (new / "deep").mkdir(parents=True)
    Image.new("L", (5, 90), 128).save(new / "gray.webp")
    Image.new("RGB", (90, 50), COLOURS["red"]).save(new / "deep" / "Rät,1.bmp")
    main(["predict", "--data.path", str(new)])
    with Path("runs/own/predictions.csv").open(newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert list(written[0]) == ["row", "file", "class", *(f"probability_{name}" for name in COLOURS)]
    assert [row["file"] for row in written] == ["deep/Rät,1.bmp", "gray.webp"]

    shutil.rmtree(path)
    run = load_run("runs/own")
    assert not run.model.training
    predicted = run.predict(path=str(new))
    assert predicted["class"] == [row["class"] for row in written]
    assert predicted["probability_red"] == pytest.approx([float(row["probability_red"]) for row in written])


def test_bad_data_leaves_no_run_behind(workdir: Path) -> None:
    path = _folder(workdir)
    (path / "red" / "0.png").write_bytes(b"")
    with pytest.raises(SystemExit, match=r"red.0\.png: this is no image, .* --data\.skip_corrupt true"):
        main(["fit", "--data.path", str(path)])
    assert not list(Path("runs").glob("*"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda png: b"", "this is no image, or a damaged one"),
        (lambda png: b"a text", "this is no image, or a damaged one"),
        (lambda png: png[: len(png) // 2], "this image cannot be read, .*truncated"),
    ],
    ids=["of zero bytes", "a text", "cut off"],
)
def test_a_bad_value_is_named(tmp_path: Path, content: Callable[[bytes], bytes], message: str) -> None:
    path = _folder(tmp_path)
    for name in ("0.png", "2.png"):
        file = path / "red" / name
        file.write_bytes(content(file.read_bytes()))
    with pytest.raises(InputError, match=rf"red.0\.png: ({message}).*, and 1 more .* --data\.skip_corrupt true"):
        _ready(path=str(path))


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("absent", None, "there is no such folder"),
        ("cat.png", [], "is a file"),
        ("empty", ["notes.txt"], "there is no image in this folder, nor in those within"),
        ("flat", ["1.png", "2.png"], "holds images but no classes"),
        ("hollow", ["cat/1.png", "dog/notes.txt"], "dog holds no image"),
        ("single", ["cat/1.png", "cat/2.png"], "holds one class only, 'cat': there must be two"),
        ("few", ["cat/1.png", "dog/2.png"], "2 images leave 0 for the val split"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, files: list[str] | None, message: str) -> None:
    path = tmp_path / name
    if files == []:
        path.touch()
    for file in files or []:
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9)).save(path / file, "PNG")
    with pytest.raises(InputError, match=message) as error:
        _ready(path=str(path)).train_dataloader()
    assert name in str(error.value)


def test_a_folder_to_predict_needs_images(tmp_path: Path) -> None:
    fitted = _ready(path=str(_folder(tmp_path))).fitted
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: there is no image in this folder"):
        LitDataModule(path=str(tmp_path / "empty"), fitted=fitted).setup("predict")


def test_a_class_that_training_did_not_know_is_named(tmp_path: Path) -> None:
    path = _folder(tmp_path)
    fitted = _ready(path=str(path)).fitted
    (path / "red").rename(path / "rot")
    with pytest.raises(InputError, match="class 'rot' was not there in training; there were: blue, green, red"):
        LitDataModule(path=str(path), fitted=fitted).setup("test")


def test_a_class_that_would_not_be_trained_on_is_named(tmp_path: Path) -> None:
    path = _folder(tmp_path)
    for number in (1, 3, 4, 5, 6):
        next((path / "red").rglob(f"{number}.png")).unlink()
    assert _ready(path=str(path)).num_classes == 3
    with pytest.raises(InputError, match="class 'red' has too few images to leave one for the train split"):
        _ready(path=str(path), val_fraction=0.45, test_fraction=0.45).train_dataloader()


def test_what_cannot_be_read_is_left_out_by_choice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _folder(tmp_path)
    (path / "red" / "0.png").write_bytes(b"")
    datamodule = _ready(path=str(path), skip_corrupt=True)
    assert len(datamodule.names) == 20
    assert "left out 1 of 21 images, which cannot be read: red/0.png" in caplog.text
    for file in (path / "red").rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(InputError, match="class 'red' has no image that can be read"):
        _ready(path=str(path), skip_corrupt=True)


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    path = _folder(tmp_path)
    (path / "red" / "._0.png").write_bytes(b"what macOS leaves in archives")
    shutil.copytree(path / "red", path / ".ipynb_checkpoints")
    assert len(_ready(path=str(path)).names) == 21


def test_every_split_has_its_share_of_every_class() -> None:
    datamodule = _ready()
    for rows in datamodule.splits.values():
        shares = datamodule.y[rows].bincount(minlength=10) / len(rows)
        assert shares.max() - shares.min() < 0.02


def test_only_training_is_varied() -> None:
    datamodule = _ready(shuffle=False)
    x, _ = next(iter(datamodule.train_dataloader()))
    assert not torch.equal(x, next(iter(datamodule.train_dataloader()))[0])
    for loader in (datamodule.val_dataloader(), datamodule.test_dataloader()):
        assert torch.equal(next(iter(loader))[0], next(iter(loader))[0])
    x, _ = next(iter(_ready(augment=False).train_dataloader()))
    assert (x.min(), x.max()) == (-1, 1)


def test_images_are_mirrored_on_request_alone() -> None:
    for flip in (False, True):
        steps = _ready(flip=flip).transform(augment=True).transforms
        assert any(isinstance(step, v2.RandomHorizontalFlip) for step in steps) == flip


def test_means_must_go_with_the_channels() -> None:
    with pytest.raises(InputError, match=r"--data\.mean holds 3 numbers: give it 1"):
        _ready(mean=[0.485, 0.456, 0.406])


def _saved(folder: Path, image: Image.Image, suffix: str = ".png", **options: Any) -> Path:
    path = folder / f"image{suffix}"
    image.save(path, **options)
    return path


def test_every_kind_of_image_is_read_alike(tmp_path: Path) -> None:
    half = Image.new("RGB", (8, 8), (128, 128, 128))
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    deep = Image.new("I;16", (8, 8), 128 * 256)
    for image, suffix, value in [
        (half, ".png", 128),
        (half.quantize(), ".png", 128),
        (half.convert("1", dither=Image.Dither.NONE), ".png", 255),
        (half.convert("CMYK"), ".jpg", 127),
        (half, ".gif", 128),
        (deep, ".png", 128),
        (deep, ".tif", 128),
        (clear, ".png", 255),
        (clear.convert("LA"), ".png", 255),
        (clear.quantize(), ".png", 255),
        (clear, ".webp", 255),
    ]:
        for channels in (1, 3):
            x = read_image(_saved(tmp_path, image, suffix), channels, 4)
            assert (x.shape, x.dtype) == ((channels, 4, 4), torch.uint8)
            assert (x.int() - value).abs().max() <= 1, (image.mode, suffix)


def test_images_stand_upright(tmp_path: Path) -> None:
    image = Image.new("L", (8, 8))
    image.paste(255, (0, 0, 8, 4))  # light above
    exif = Image.Exif()
    exif[0x0112] = 3  # taken upside down
    [x] = read_image(_saved(tmp_path, image, ".jpg", exif=exif), channels=1, size=8)
    assert x[0].max() < 50
    assert x[7].min() > 200


def test_images_are_cropped_to_their_middle(tmp_path: Path) -> None:
    image = Image.new("L", (3000, 1000))
    image.paste(255, (1000, 0, 2000, 1000))
    [x] = read_image(_saved(tmp_path, image, ".jpg"), channels=1, size=10)
    assert x[:, 1:-1].min() > 200


def test_pixels_of_unknown_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="floating-point"):
        read_image(_saved(tmp_path, Image.new("F", (8, 8)), ".tif"), channels=1, size=8)
