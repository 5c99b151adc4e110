"""The data: what is special about text."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from examples import make_datamodule

from lit_project import load_run
from lit_project.data import documents
from lit_project.datamodule import LitDataModule
from lit_project.engine.errors import InputError
from lit_project.train import main

SMALL = ["--model.layers=1", "--model.heads=1", "--model.width=8", "--data.new_tokens=5", "--data.block_size=16"]


def _text(folder: Path, content: str | bytes = "Größe 🎉 and\r\nso on. " * 100, name: str = "my.txt") -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_batch_has_the_documented_shape_and_type() -> None:
    x, y = next(iter(make_datamodule().train_dataloader()))
    assert x.shape == y.shape == (8, 256)
    assert x.dtype == y.dtype == torch.int64
    assert torch.equal(x[:, 1:], y[:, :-1])


def test_splits_are_complete() -> None:
    datamodule = make_datamodule()
    seen = [set[int](), set[int](), set[int]()]
    for tokens, starts in zip(seen, datamodule.splits.values(), strict=True):
        for start in starts:
            tokens.update(range(start, start + 256 + 1))
    train, val, test = seen
    assert len(train) + len(val) + len(test) == len(train | val | test)
    assert len(train | val | test) > len(datamodule.corpus) - 3 * 257  # the rest of each split is no whole block


def test_own_text_is_a_matter_of_configuration(workdir: Path) -> None:
    path = _text(workdir)
    own = ["--data.path", path, "--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
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


def test_bad_data_leave_no_run_behind(workdir: Path) -> None:
    path = _text(workdir, "too short")
    with pytest.raises(SystemExit, match="9 tokens leave 7 for the train split, which needs 257"):
        main(["fit", "--data.path", path])
    assert not list(Path("runs").glob("*"))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (["it is 5 ☃"], "the prompt 'it is 5 ☃' holds '☃', which is not in the training text"),
        (["The ", ""], "a prompt is empty"),
    ],
)
def test_bad_prompt_is_named(prompts: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LitDataModule(prompts=prompts).setup("predict")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.txt", None, "no such file or folder"),
        ("empty.txt", "", "is empty"),
        ("short.txt", "x" * 1000, "1000 tokens leave 100 for the val split, which needs 257; lower --data.block_size"),
        ("latin.txt", b"Gr\xf6sse " * 1000, r"is not UTF-8: byte 3 is invalid; name .* --data\.encoding"),
    ],
)
def test_bad_file_is_named(tmp_path: Path, name: str, content: str | bytes | None, message: str) -> None:
    if content is not None:
        _text(tmp_path, content, name)
    with pytest.raises(InputError, match=message) as error:
        make_datamodule(path=str(tmp_path / name), cache_dir=str(tmp_path / "cache"))
    assert name in str(error.value)


def test_default_prompt_is_a_new_line(tmp_path: Path) -> None:
    cache_dir = str(tmp_path / "cache")
    assert make_datamodule().prompts == ["\n"]
    assert make_datamodule(path=_text(tmp_path, "b a " * 500), block_size=16, cache_dir=cache_dir).prompts == [" "]


def test_folder_without_text_is_named(tmp_path: Path) -> None:
    _text(tmp_path, name="my.pdf")
    with pytest.raises(InputError, match=r"no file in this folder has a name ending in \.md or \.txt"):
        make_datamodule(path=str(tmp_path))


def test_texts_in_a_folder_are_joined_in_order(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    _text(tmp_path, "b" * 500, "b.txt")
    _text(tmp_path / "deep", "c" * 500, "c.md")
    _text(tmp_path, "a" * 500, "a.txt")
    datamodule = make_datamodule(path=str(tmp_path), block_size=16, cache_dir=str(tmp_path / "cache"))
    assert datamodule.vocabulary.decode(datamodule.corpus) == "\n".join(["a" * 500, "b" * 500, "c" * 500])


@pytest.mark.parametrize("tokens", ["characters", "bytes"])
def test_tokens_decode_to_the_same_text(tmp_path: Path, tokens: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PIECE", 7)  # so that characters are cut in two
    content = "".join(chr(point) for point in range(32, 1500)) + "数 🎉 שלום\r\n"
    settings = {"block_size": 16, "cache_dir": str(tmp_path / "cache")}
    datamodule = make_datamodule(path=_text(tmp_path, content), tokens=tokens, **settings)
    assert datamodule.vocabulary.decode(datamodule.corpus) == content


def test_invalid_byte_is_counted_across_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PIECE", 7)
    path = _text(tmp_path, "äöü".encode() * 10 + b"\xff")
    with pytest.raises(InputError, match="byte 61 is invalid"):
        make_datamodule(path=path, cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize("tokens", ["characters", "bytes"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "shift_jis"])
def test_every_encoding_gives_the_same_tokens(
    tmp_path: Path, encoding: str, tokens: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "PIECE", 7)
    content = {"cp1252": "Größe €\0", "shift_jis": "日本語\0"}.get(encoding, "Größe 🎉\0") * 30
    mark = "\ufeff" if encoding in ("utf-8", "utf-16-le") else ""  # the others write it themselves
    path = _text(tmp_path, f"{mark}{content}".encode(encoding))
    settings = {"encoding": encoding, "tokens": tokens, "block_size": 8, "cache_dir": str(tmp_path / "cache")}
    datamodule = make_datamodule(path=path, **settings)
    assert datamodule.vocabulary.decode(datamodule.corpus) == content


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("ascii", r"my\.txt is not ASCII: byte 3 is invalid; name its encoding with --data\.encoding"),
        ("utf-16", r"my\.txt is not UTF-16: .*byte order mark|my\.txt is not UTF-16: .*BOM"),
        ("utf-99", r"--data\.encoding utf-99: unknown; try utf-8, utf-16"),
        ("base64", r"--data\.encoding base64: unknown"),
    ],
)
def test_wrong_encoding_is_named(tmp_path: Path, encoding: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_datamodule(path=_text(tmp_path), encoding=encoding, cache_dir=str(tmp_path / "cache"))


def test_json_lines_give_the_texts_of_a_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [{"text": f"Größe {number}", "id": number} for number in range(50)]
    lines = "\n\n".join(json.dumps(record) for record in records)  # without a newline at the end
    _text(tmp_path, f"\ufeff{lines}", "a.jsonl")
    _text(tmp_path, '{"text": "more\\n"}\r\n', "b.jsonl")
    _text(tmp_path, "not read", "c.txt")
    for piece in (7, 1 << 20):
        monkeypatch.setattr(documents, "PIECE", piece)
        settings = {"field": "text", "block_size": 16, "cache_dir": str(tmp_path / f"cache {piece}")}
        datamodule = make_datamodule(path=str(tmp_path), **settings)
        read = datamodule.vocabulary.decode(datamodule.corpus)
        assert read == "".join(f"{record['text']}\n" for record in records) + "more\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 3: not JSON, .*; fix or remove the line"),
        ("[1]", "line 3: no field 'text'; the line is no object"),
        ('{"Text": "a", "id": 3}', r"line 3: no field 'text'; the line has Text, id; .* --data\.field"),
        ('{"text": null}', "line 3: the field 'text' holds no string"),
        (r'{"text": "\ud83d"}', "line 3: the field 'text' holds half a surrogate pair"),
    ],
)
def test_bad_json_line_is_named(tmp_path: Path, line: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PIECE", 7)  # so that lines are counted across pieces
    path = _text(tmp_path, "\n".join(['{"text": "a"}', "", line, ""]), "my.jsonl")
    with pytest.raises(InputError, match=rf"my\.jsonl, {message}"):
        make_datamodule(path=path, field="text", cache_dir=str(tmp_path / "cache"))


def test_json_lines_need_a_field(tmp_path: Path) -> None:
    path = _text(tmp_path, '{"text": "a"}\n', "my.jsonl")
    for given in (path, str(tmp_path)):
        with pytest.raises(InputError, match=r"JSON lines need --data\.field"):
            make_datamodule(path=given, cache_dir=str(tmp_path / "cache"))


def test_tokens_are_cached_until_the_text_changes(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = _text(tmp_path)
    make_datamodule(path=path, block_size=16, cache_dir=str(cache))
    [first] = cache.glob("*.tokens")
    written = first.stat().st_mtime_ns
    make_datamodule(path=path, block_size=16, cache_dir=str(cache))
    assert [(file, file.stat().st_mtime_ns) for file in cache.glob("*.tokens")] == [(first, written)]
    _text(tmp_path, "another text " * 200)
    make_datamodule(path=path, block_size=16, cache_dir=str(cache))
    assert len(list(cache.glob("*.tokens"))) == 2
    make_datamodule(path=path, block_size=16, cache_dir=str(cache), encoding="latin-1")
    assert len(list(cache.glob("*.tokens"))) == 3


def test_how_the_text_is_read_belongs_to_the_checkpoint(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"path": _text(tmp_path), "block_size": 16, "cache_dir": str(tmp_path / "cache")}
    trained = make_datamodule(encoding="latin-1", **settings)
    with pytest.raises(InputError, match=r"--data\.encoding utf-8: the checkpoint was trained with latin-1"):
        LitDataModule(**settings).load_state_dict(trained.state_dict())


def test_character_unseen_in_training_is_named(tmp_path: Path) -> None:
    cache_dir = str(tmp_path / "cache")
    trained = make_datamodule(path=_text(tmp_path), block_size=16, cache_dir=cache_dir)
    new = LitDataModule(path=_text(tmp_path, "x" * 500), block_size=16, cache_dir=cache_dir)
    new.load_state_dict(trained.state_dict())
    with pytest.raises(InputError, match=r"my\.txt holds 'x', which is not in the training text"):
        new.setup("test")


def test_text_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    decode = documents._decode

    def count(path: Path, encoding: str) -> Iterator[str]:
        read.append(path)
        return decode(path, encoding)

    monkeypatch.setattr(documents, "_decode", count)
    settings = {"block_size": 16, "cache_dir": str(tmp_path / "cache")}
    path = _text(tmp_path, "ab\r\n" * 500)
    for _ in range(2):
        assert make_datamodule(path=path, **settings).vocabulary.characters == "\n\rab"
        assert len(read) == 2  # for its characters, and for its tokens
    _text(tmp_path, "abc\n" * 500)
    assert make_datamodule(path=path, **settings).vocabulary.characters == "\nabc"


def test_corpus_stays_on_disk(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux to tell what is in memory")

    def in_memory() -> int:
        [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
        return int(line.split()[1]) * 1024

    path = tmp_path / "large.txt"
    path.write_bytes(b"0123456789abcdef" * (1 << 24))  # 268 MB
    before = in_memory()
    datamodule = make_datamodule(path=str(path), tokens="bytes", cache_dir=str(tmp_path / "cache"))
    for loader in (datamodule.train_dataloader(), datamodule.test_dataloader()):
        next(iter(loader))
    assert in_memory() - before < 150e6
