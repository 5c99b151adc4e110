"""The data: the same split every time, tokens that come back as text, and clear words for bad files."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_project import load_run
from lit_project.datamodule import LitDataModule
from lit_project.engine import text as engine_text
from lit_project.engine.errors import InputError
from lit_project.train import main

SMALL = ["--model.layers=1", "--model.heads=1", "--model.width=8", "--model.new_tokens=5", "--data.block_size=16"]


def _ready(**arguments: Any) -> LitDataModule:
    datamodule = LitDataModule(**arguments)
    datamodule.setup("fit")
    return datamodule


def _text(folder: Path, content: str | bytes = "Größe 🎉 and\r\nso on. " * 100, name: str = "my.txt") -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_a_batch_has_the_documented_shape_and_type() -> None:
    x, y = next(iter(_ready().train_dataloader()))
    assert x.shape == y.shape == (8, 256)
    assert x.dtype == y.dtype == torch.int64
    assert torch.equal(x[:, 1:], y[:, :-1])


def test_the_splits_are_disjoint_and_complete() -> None:
    datamodule = _ready()
    seen = [set[int](), set[int](), set[int]()]
    for tokens, starts in zip(seen, datamodule.splits.values(), strict=True):
        for start in starts:
            tokens.update(range(start, start + 256 + 1))
    train, val, test = seen
    assert len(train) + len(val) + len(test) == len(train | val | test)
    assert len(train | val | test) > len(datamodule.corpus) - 3 * 257  # the rest of each split is no whole block


def test_the_split_is_the_same_every_time() -> None:
    assert _ready().splits == _ready().splits
    assert _ready().splits != _ready(test_fraction=0.2).splits


def test_training_comes_in_a_new_order_each_epoch_unless_asked_otherwise() -> None:
    loader = _ready().train_dataloader()
    assert not torch.equal(next(iter(loader))[0], next(iter(loader))[0])
    loader = _ready(shuffle=False).train_dataloader()
    assert torch.equal(next(iter(loader))[0], next(iter(loader))[0])


@pytest.mark.parametrize("tokens", ["characters", "bytes"])
def test_your_own_data_is_taken_by_config_alone(workdir: Path, tokens: str) -> None:
    path = _text(workdir)
    own = ["--data.path", path, "--data.tokens", tokens, "--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
    main(["fit", "--name", "own", *own, *SMALL])
    Path(path).unlink()
    prompts = ["Größe", "so\n"]
    main(["predict", "--data.prompts", '["Größe", "so\\n"]'])
    with Path("runs/own/predictions.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["prompt"] for row in written] == prompts
    assert all(len(row["continuation"]) >= 1 for row in written)

    run = load_run("runs/own")
    assert not run.model.training
    assert run.predict(prompts=["on"])["prompt"] == ["on"]


def test_bad_data_leaves_no_run_behind(workdir: Path) -> None:
    path = _text(workdir, "too short")
    with pytest.raises(SystemExit, match="9 tokens leave 7 for the train split, which needs 257"):
        main(["fit", "--data.path", path])
    assert not list(Path("runs").glob("*"))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (["it is 5 ☃"], "the prompt 'it is 5 ☃' holds '☃', which the training text did not"),
        (["The ", ""], "a prompt is empty"),
    ],
)
def test_a_bad_value_is_named(prompts: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LitDataModule(prompts=prompts).setup("predict")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.txt", None, "there is no such file or folder"),
        ("empty.txt", "", "is empty"),
        ("short.txt", "x" * 1000, "1000 tokens leave 100 for the val split, which needs 257: lower --data.block_size"),
        ("latin.txt", b"Gr\xf6sse " * 1000, "is not UTF-8: byte 3 does not fit"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: str | bytes | None, message: str) -> None:
    if content is not None:
        _text(tmp_path, content, name)
    with pytest.raises(InputError, match=message) as error:
        _ready(path=str(tmp_path / name), cache_dir=str(tmp_path / "cache"))
    assert name in str(error.value)


def test_without_a_prompt_a_text_begins_with_a_new_line(tmp_path: Path) -> None:
    cache_dir = str(tmp_path / "cache")
    assert _ready().prompts == ["\n"]
    assert _ready(path=_text(tmp_path, "b a " * 500), block_size=16, cache_dir=cache_dir).prompts == [" "]


def test_a_folder_without_a_text_is_named(tmp_path: Path) -> None:
    _text(tmp_path, name="my.pdf")
    with pytest.raises(InputError, match=r"no file in this folder whose name ends in \.md or \.txt"):
        _ready(path=str(tmp_path))


def test_all_texts_of_a_folder_are_taken_in_order(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    _text(tmp_path, "b" * 500, "b.txt")
    _text(tmp_path / "deep", "c" * 500, "c.md")
    _text(tmp_path, "a" * 500, "a.txt")
    datamodule = _ready(path=str(tmp_path), block_size=16, cache_dir=str(tmp_path / "cache"))
    assert datamodule.vocabulary.decode(datamodule.corpus) == "a" * 500 + "b" * 500 + "c" * 500


@pytest.mark.parametrize("tokens", ["characters", "bytes"])
def test_every_text_comes_back_from_its_tokens(tmp_path: Path, tokens: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_text, "PIECE", 7)  # so that characters are cut in two
    content = "".join(chr(point) for point in range(32, 1500)) + "数 🎉 שלום\r\n"
    datamodule = _ready(path=_text(tmp_path, content), tokens=tokens, block_size=16, cache_dir=str(tmp_path / "cache"))
    assert datamodule.vocabulary.decode(datamodule.corpus) == content


def test_wrong_bytes_are_counted_across_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_text, "PIECE", 7)
    path = _text(tmp_path, "äöü".encode() * 10 + b"\xff")
    with pytest.raises(InputError, match="byte 61 does not fit"):
        _ready(path=path, cache_dir=str(tmp_path / "cache"))


def test_tokens_are_written_once_and_again_when_the_text_has_changed(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = _text(tmp_path)
    _ready(path=path, block_size=16, cache_dir=str(cache))
    [first] = cache.iterdir()
    written = first.stat().st_mtime_ns
    _ready(path=path, block_size=16, cache_dir=str(cache))
    assert [(file, file.stat().st_mtime_ns) for file in cache.iterdir()] == [(first, written)]
    _text(tmp_path, "another text " * 200)
    _ready(path=path, block_size=16, cache_dir=str(cache))
    assert len(list(cache.iterdir())) == 2


def test_a_character_that_training_did_not_know_is_named(tmp_path: Path) -> None:
    cache_dir = str(tmp_path / "cache")
    fitted = _ready(path=_text(tmp_path), block_size=16, cache_dir=cache_dir).fitted
    new = LitDataModule(path=_text(tmp_path, "x" * 500), block_size=16, fitted=fitted, cache_dir=cache_dir)
    with pytest.raises(InputError, match=r"my\.txt holds 'x', which the training text did not"):
        new.setup("test")


def test_a_corpus_stays_on_disk(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux to tell what is in memory")

    def in_memory() -> int:
        [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
        return int(line.split()[1]) * 1024

    path = tmp_path / "large.txt"
    path.write_bytes(b"0123456789abcdef" * (1 << 24))  # 268 MB
    before = in_memory()
    datamodule = _ready(path=str(path), tokens="bytes", cache_dir=str(tmp_path / "cache"))
    for loader in (datamodule.train_dataloader(), datamodule.test_dataloader()):
        next(iter(loader))
    assert in_memory() - before < 150e6
