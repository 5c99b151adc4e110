"""The data: what is special about images."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import QUICK, read_checkpoint
from examples import make_datamodule
from PIL import Image
from torchvision.transforms import v2

from lit_project import load_run
from lit_project.data import images
from lit_project.data.images import read_image
from lit_project.datamodule import LitDataModule
from lit_project.engine.errors import InputError
from lit_project.train import main

COLORS = {"blue": (0, 0, 255), "green": (0, 200, 0), "red": (255, 0, 0)}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _folder(folder: Path, suffix: str = ".png", count: int = 7) -> Path:
    path = folder / "images"
    for name, color in COLORS.items():
        (path / name / "more").mkdir(parents=True)
        for number in range(count):
            image = Image.new("RGB", (20 + number, 30), color)
            image.save(path / name / ("more" if number % 2 else ".") / f"{number}{suffix}")
    return path


def test_batch_has_the_documented_shape_and_type() -> None:
    x, y = next(iter(make_datamodule().train_dataloader()))
    assert (x.shape, y.shape) == ((64, 1, 8, 8), (64,))
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)


def test_splits_are_complete() -> None:
    sizes = {name: len(rows) for name, rows in make_datamodule().splits.items()}
    assert sizes == {"train": 1259, "val": 269, "test": 269}


def test_own_images_are_a_matter_of_configuration(workdir: Path) -> None:
    path = _folder(workdir, ".JPG")
    own = ["--data.path", str(path), "--trainer.accelerator", "cpu"]
    main(["fit", "--name", "own", "--config", "configs/smoke.yaml", *own])
    new = workdir / "new"  # without classes, of another size and format
    (new / "deep").mkdir(parents=True)
    Image.new("L", (5, 90), 128).save(new / "gray.webp")
    Image.new("RGB", (90, 50), COLORS["red"]).save(new / "deep" / "Rät,1.bmp")
    main(["predict", "--data.path", str(new)])
    with Path("runs/own/predictions.csv").open(newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert list(written[0]) == ["row", "file", "class", *(f"probability_{name}" for name in COLORS)]
    assert [row["file"] for row in written] == ["deep/Rät,1.bmp", "gray.webp"]

    shutil.rmtree(path)
    run = load_run("runs/own")
    assert not run.model.training
    predicted = run.predict(path=str(new))
    assert predicted["class"] == [row["class"] for row in written]
    assert predicted["probability_red"] == pytest.approx([float(row["probability_red"]) for row in written])


def test_images_are_opened_once_until_one_changes(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _folder(workdir)
    opened: list[Path] = []

    def count(source: Any, channels: int, size: int) -> torch.Tensor:
        opened.append(source)
        return read_image(source, channels, size)

    monkeypatch.setattr(images, "read_image", count)
    make_datamodule(path=str(path))
    assert len(opened) == 21
    make_datamodule(path=str(path))
    assert len(opened) == 21
    changed = path / "red" / "0.png"
    changed.write_bytes(b"no image")
    for _ in range(2):  # a flaw is looked for again: it may be mended
        with pytest.raises(InputError, match=r"red.0\.png: not an image"):
            make_datamodule(path=str(path))
    assert opened[21:] == [changed, changed]
    [memory] = (workdir / ".cache").iterdir()
    memory.write_text("damaged")
    changed.unlink()
    assert len(make_datamodule(path=str(path)).names) == 20


def test_bad_data_leave_no_run_behind(workdir: Path) -> None:
    path = _folder(workdir)
    (path / "red" / "0.png").write_bytes(b"")
    with pytest.raises(SystemExit, match=r"red.0\.png: not an image, .* --data\.skip_corrupt true"):
        main(["fit", "--data.path", str(path)])
    assert not list(Path("runs").glob("*"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda png: b"", "not an image, or a damaged one"),
        (lambda png: b"a text", "not an image, or a damaged one"),
        (lambda png: png[: len(png) // 2], "this image cannot be read, .*truncated"),
    ],
    ids=["of zero bytes", "a text", "cut off"],
)
def test_bad_image_is_named(tmp_path: Path, content: Callable[[bytes], bytes], message: str) -> None:
    path = _folder(tmp_path)
    for name in ("0.png", "2.png"):
        file = path / "red" / name
        file.write_bytes(content(file.read_bytes()))
    with pytest.raises(InputError, match=rf"red.0\.png: ({message}).*, and 1 more .* --data\.skip_corrupt true"):
        make_datamodule(path=str(path))


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("absent", None, "no such folder"),
        ("cat.png", [], "is a file"),
        ("empty", ["notes.txt"], "no image in this folder or below it"),
        ("flat", ["1.png", "2.png"], "holds images but no classes"),
        ("hollow", ["cat/1.png", "dog/notes.txt"], "dog holds no image"),
        ("single", ["cat/1.png", "cat/2.png"], "holds a single class, 'cat'; there must be two"),
        ("few", ["cat/1.png", "dog/2.png"], "2 images leave 0 for the val split"),
        ("mixed", ["train/cat/1.png", "dog/1.png"], "the split 'train' beside 'dog'; keep either splits or classes"),
        (
            "direct",
            ["train/1.png", "test/1.png"],
            "in no class; .* if 'test' is a class, rename the folder or give --data",
        ),
        ("bare", ["val/cat/1.png", "test/dog/1.png"], "holds no training images; add the split train"),
        (
            "new",
            ["train/cat/1.png", "test/dog/1.png"],
            "class 'dog' of test/dog/1.png has no training images; add some",
        ),
        ("gap", ["train/cat/1.png", "train/dog/notes.txt"], "dog holds no image"),
    ],
)
def test_bad_folder_is_named(tmp_path: Path, name: str, files: list[str] | None, message: str) -> None:
    path = tmp_path / name
    if files == []:
        path.touch()
    for file in files or []:
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9)).save(path / file, "PNG")
    with pytest.raises(InputError, match=message) as error:
        make_datamodule(path=str(path)).train_dataloader()
    assert name in str(error.value)


def test_folder_to_predict_needs_images(tmp_path: Path) -> None:
    trained = make_datamodule(path=str(_folder(tmp_path)))
    (tmp_path / "empty").mkdir()
    new = LitDataModule(path=str(tmp_path / "empty"))
    new.load_state_dict(trained.state_dict())
    with pytest.raises(InputError, match="empty: no image in this folder or below it"):
        new.setup("predict")


def _splits(datamodule: LitDataModule) -> dict[str, set[str]]:
    """Return the names of the images in every split."""
    return {split: {datamodule.names[int(row)] for row in rows} for split, rows in datamodule.splits.items()}


def _split_folder(folder: Path, **counts: int) -> Path:
    """Write images into a folder per split, and in it one per class."""
    for split, count in counts.items():
        _folder(folder / "of" / split, count=count).rename(folder / split)
    shutil.rmtree(folder / "of")
    return folder


def test_given_splits_are_used_as_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _split_folder(tmp_path / "my images", train=6, Validation=2, test=3)
    datamodule = make_datamodule(path=str(path))
    assert datamodule.fitted["classes"] == list(COLORS)
    for split, names in _splits(datamodule).items():
        assert {name.split("/")[0] for name in names} == {"Validation" if split == "val" else split}
    assert {split: len(rows) for split, rows in datamodule.splits.items()} == {"train": 18, "val": 6, "test": 9}
    assert "my images: train, val, test" in caplog.text


def test_missing_splits_are_taken_from_train(tmp_path: Path) -> None:
    path = _split_folder(tmp_path, train=7, test=1)
    splits = _splits(make_datamodule(path=str(path)))
    assert {split: len(names) for split, names in splits.items()} == {"train": 18, "val": 3, "test": 3}
    assert {name.split("/")[1] for name in splits["val"]} == set(COLORS)
    assert all(name.startswith("test/") == (split == "test") for split, names in splits.items() for name in names)


LABELS = "label;file;split\nwarm;red/0.png;train\nwarm;red/2.png;valid\nwarm;./red/4.png;Test\n"


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("utf-8-sig", (LABELS + "cold;blue\\0.png;train\ncold;blue/2.png;val\n").replace("\n", ";more\n")),
        ("utf-8", LABELS.replace(";", "\t") + '\n"cold"\tblue/0.png\ttrain\ncold\tblue/2.png\ttrain\n'),
        ("utf-8", (LABELS + "cold;blue/0.png;train\n").replace("label", "Species").replace(";", ",")),
    ],
    ids=["semicolons and a byte order mark", "tabs", "commas"],
)
def test_labels_come_from_a_file(tmp_path: Path, encoding: str, content: str, caplog: pytest.LogCaptureFixture) -> None:
    path, labels = _folder(tmp_path), tmp_path / "my labels.csv"
    labels.write_text(content, encoding)
    datamodule = make_datamodule(path=str(path), labels=str(labels))
    assert datamodule.fitted["classes"] == ["cold", "warm"]
    splits = _splits(datamodule)
    assert [name for names in splits.values() for name in names if name.startswith("red")] == [
        *("red/0.png", "red/2.png", "red/4.png")
    ]
    assert f"left out {21 - len(datamodule.names)} of 21 images, which have no class in" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"file,label\n", "holds a header, but no labels"),
        (b"red/0.png,red\n", "has no header; put one above its first line, such as file,label"),
        (b"file,a,b\nred/0.png,1,2\n", "which column holds the classes. Name it label; there are file, a, b"),
        (b"file,label\nred/0.png,red\nred/99.png,red\n", r"line 3: no image 'red/99\.png' in .*; fix or remove"),
        (b"file,label\nred/0.png,red\nred/0.png,blue\n", r"line 3 names 'red/0\.png' again; remove one"),
        (b"file,label\nred/0.png,\n", r"line 2: 'red/0\.png' has no label; fill it in, or remove the line"),
        (b"file,label\nred/0.png\n", "line 2: 1 cells below a header of 2"),
        (b"file,label,split\nred/0.png,red,half\n", "line 2: 'half' is no split; write train, val or test"),
        (b'file,label\n"red/0.png,red\n', "line 2: unexpected end of data; fix the line"),
        (b"\xff\xfef\0", "is not UTF-8; save it as CSV in UTF-8"),
        (None, "--data.labels .*: No such file"),
    ],
)
def test_bad_labels_are_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path, labels = _folder(tmp_path), tmp_path / "labels.csv"
    if content is not None:
        labels.write_bytes(content)
    with pytest.raises(InputError, match=rf"labels\.csv.*{message}|{message}"):
        make_datamodule(path=str(path), labels=str(labels))
    with pytest.raises(InputError, match=r"labels\.csv: name the folder of the images with --data\.path"):
        LitDataModule(labels=str(labels))


def test_rare_classes_weigh_more_on_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _folder(tmp_path, count=20)
    for file in [*(path / "red").rglob("*.png")][4:]:
        file.unlink()
    assert make_datamodule(path=str(path)).class_weights is None
    assert "green 46.7%, blue 46.7%, red 6.7%; --data.balance true gives rare classes more weight" in caplog.text
    balanced = make_datamodule(path=str(path), balance=True)
    sizes = balanced.y[balanced.splits["train"]].bincount()
    weights = torch.tensor(balanced.class_weights)
    torch.testing.assert_close(weights * sizes, (weights * sizes)[:1].expand(3))
    assert (weights * sizes).sum() == pytest.approx(sizes.sum())  # 1 for an average image
    restored = LitDataModule(path=str(tmp_path), balance=True)  # other images keep the weights of the training
    restored.load_state_dict(balanced.state_dict())
    assert restored.class_weights == balanced.class_weights


@pytest.mark.parametrize("option", [{"labels": "other.csv"}, {"balance": True}])
def test_data_options_belong_to_the_checkpoint(tmp_path: Path, option: dict[str, Any]) -> None:
    path = str(_folder(tmp_path))
    with pytest.raises(InputError, match=rf"--data\.{next(iter(option))} .*: the checkpoint was trained with"):
        LitDataModule(path=path, **option).load_state_dict(make_datamodule(path=path).state_dict())


@pytest.mark.slow
def test_training_does_not_depend_on_the_number_of_workers(workdir: Path) -> None:
    path = str(_folder(workdir))
    for workers in ("0", "2"):
        options = ["--data.path", path, "--data.batch_size", "4", "--data.num_workers", workers]
        main(["fit", "--name", workers, *QUICK, "--trainer.max_epochs", "2", *options])
    alone, worker = (read_checkpoint(f"runs/{name}/checkpoints/last.ckpt")["state_dict"] for name in ("0", "2"))
    assert all(torch.equal(value, worker[key]) for key, value in alone.items())


def test_workers_are_never_forked(tmp_path: Path) -> None:
    loader = make_datamodule(path=str(_folder(tmp_path)), num_workers=1).train_dataloader()
    assert loader.multiprocessing_context.get_start_method() in ("forkserver", "spawn")


def test_workers_read_images_where_they_pay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, fit = str(_folder(tmp_path)), SimpleNamespace(state=SimpleNamespace(fn="fit"))

    def count(trainer: Any = fit, **options: Any) -> int:
        datamodule = make_datamodule(path=path, **options)
        datamodule.trainer = trainer
        return datamodule.train_dataloader().num_workers

    assert count() == 0
    monkeypatch.setattr(images, "FEW_SECONDS", 0.0)  # as if there were a million images
    assert count() == min(images.MOST_WORKERS, os.cpu_count() or 1)
    assert count(num_workers=0) == 0
    assert count(trainer=None) == 0  # in a script that workers may import


def test_class_unseen_in_training_is_named(tmp_path: Path) -> None:
    path = _folder(tmp_path)
    trained = make_datamodule(path=str(path))
    (path / "red").rename(path / "rot")
    changed = LitDataModule(path=str(path))
    changed.load_state_dict(trained.state_dict())
    with pytest.raises(InputError, match="class 'rot', unseen in training; known: blue, green, red"):
        changed.setup("test")


def test_class_too_small_to_train_on_is_named(tmp_path: Path) -> None:
    path = _folder(tmp_path)
    for number in (1, 3, 4, 5, 6):
        next((path / "red").rglob(f"{number}.png")).unlink()
    assert make_datamodule(path=str(path)).num_classes == 3
    with pytest.raises(InputError, match="class 'red' has too few images to leave one for the train split"):
        make_datamodule(path=str(path), val_fraction=0.45, test_fraction=0.45).train_dataloader()


def test_corrupt_images_are_skipped_on_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _folder(tmp_path)
    (path / "red" / "0.png").write_bytes(b"")
    datamodule = make_datamodule(path=str(path), skip_corrupt=True)
    assert len(datamodule.names) == 20
    assert "left out 1 of 21 images that cannot be read: red/0.png" in caplog.text
    for file in (path / "red").rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(InputError, match="class 'red' has no image that can be read"):
        make_datamodule(path=str(path), skip_corrupt=True)


def test_hidden_files_are_skipped(tmp_path: Path) -> None:
    path = _folder(tmp_path)
    (path / "red" / "._0.png").write_bytes(b"what macOS leaves in archives")
    shutil.copytree(path / "red", path / ".ipynb_checkpoints")
    assert len(make_datamodule(path=str(path)).names) == 21


def test_links_that_lead_back_are_not_followed(tmp_path: Path) -> None:
    path = _folder(tmp_path)
    (path / "red" / "more").rename(tmp_path / "elsewhere")
    try:
        (path / "red" / "linked").symlink_to("../../elsewhere")
    except OSError:
        pytest.skip("needs a system that allows links")
    for name in COLORS:
        for link in range(3):  # each doubles the paths at every level
            (path / name / f"up{link}").symlink_to("../.." if link else "..")
    assert len(make_datamodule(path=str(path)).names) == 21


def test_every_split_has_its_share_of_every_class() -> None:
    datamodule = make_datamodule()
    for rows in datamodule.splits.values():
        shares = datamodule.y[rows].bincount(minlength=10) / len(rows)
        assert shares.max() - shares.min() < 0.02


def test_folds_share_out_every_image_and_class() -> None:
    folds = [make_datamodule(folds=3, fold=fold) for fold in range(3)]
    test = folds[0].splits["test"].tolist()
    assert all(fold.splits["test"].tolist() == test for fold in folds)
    validated = [row for fold in folds for row in fold.splits["val"].tolist()]
    assert sorted(validated + test) == list(range(1797))
    for fold in folds:
        assert sorted(torch.cat(list(fold.splits.values())).tolist()) == list(range(1797))
    counts = torch.stack([fold.y[fold.splits["val"]].bincount(minlength=10) for fold in folds])
    assert (counts.amax(dim=0) - counts.amin(dim=0)).max() <= 1


def test_fold_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"fold": 1}, r"--data\.fold 1: has no effect without --data\.folds"),
        ({"folds": 3, "fold": 3}, r"--data\.fold 3: must be at least 0 and less than --data\.folds"),
        ({"folds": 99}, r"--data\.folds 99: Cannot have number of splits"),
    ]
    for options, wrong in refused:
        with pytest.raises(InputError, match=wrong):
            make_datamodule(path=str(_folder(tmp_path / wrong[:15])), **options)


def test_only_training_images_are_augmented() -> None:
    datamodule = make_datamodule(augment=True, shuffle=False)
    x, _ = next(iter(datamodule.train_dataloader()))
    assert not torch.equal(x, next(iter(datamodule.train_dataloader()))[0])
    for loader in (datamodule.val_dataloader(), datamodule.test_dataloader()):
        assert torch.equal(next(iter(loader))[0], next(iter(loader))[0])
    x, _ = next(iter(make_datamodule().train_dataloader()))
    assert (x.min(), x.max()) == (-1, 1)


def test_images_are_flipped_only_on_request() -> None:
    for flip in (False, True):
        steps = make_datamodule(flip=flip).transform(augment=True).transforms
        assert any(isinstance(step, v2.RandomHorizontalFlip) for step in steps) == flip


def test_mean_must_match_the_channels() -> None:
    with pytest.raises(InputError, match=r"--data\.mean .*: holds 3 numbers; give it 1"):
        make_datamodule(mean=[0.485, 0.456, 0.406])


def _saved(folder: Path, image: Image.Image, suffix: str = ".png", **options: Any) -> Path:
    path = folder / f"image{suffix}"
    image.save(path, **options)
    return path


def test_every_image_mode_is_read_alike(tmp_path: Path) -> None:
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


def test_animations_give_their_first_frame(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 8), COLORS["red"]), Image.new("RGB", (8, 8), COLORS["blue"])
    for suffix in (".gif", ".png", ".tif", ".webp"):
        x = read_image(_saved(tmp_path, first, suffix, save_all=True, append_images=[second]), channels=3, size=4)
        assert (x.float().mean(dim=(1, 2)) - torch.tensor(COLORS["red"])).abs().max() < 5, suffix


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (10_000, 10_000)])  # the last is more than Pillow likes
def test_every_size_is_read(tmp_path: Path, size: tuple[int, int], recwarn: pytest.WarningsRecorder) -> None:
    x = read_image(_saved(tmp_path, Image.new("1", size, 1)), channels=3, size=8)
    assert (x.shape, int(x.min())) == ((3, 8, 8), 255)
    assert not recwarn.list


def test_decompression_bomb_is_refused(tmp_path: Path) -> None:
    path = _folder(tmp_path)
    Image.new("1", (14_000, 14_000)).save(path / "red" / "0.png")
    with pytest.raises(InputError, match=r"red.0\.png: .* 14000 x 14000 pixels are more than 178,956,970"):
        make_datamodule(path=str(path))


def test_images_are_rotated_by_exif(tmp_path: Path) -> None:
    image = Image.new("L", (8, 8))
    image.paste(255, (0, 0, 8, 4))  # light above
    exif = Image.Exif()
    exif[0x0112] = 3  # taken upside down
    [x] = read_image(_saved(tmp_path, image, ".jpg", exif=exif), channels=1, size=8)
    assert x[0].max() < 50
    assert x[7].min() > 200


def test_images_are_center_cropped(tmp_path: Path) -> None:
    image = Image.new("L", (3000, 1000))
    image.paste(255, (1000, 0, 2000, 1000))
    [x] = read_image(_saved(tmp_path, image, ".jpg"), channels=1, size=10)
    assert x[:, 1:-1].min() > 200


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="floating-point"):
        read_image(_saved(tmp_path, Image.new("F", (8, 8)), ".tif"), channels=1, size=8)
