"""The data: the same split every time, nothing learnt from the rows that judge, and clear words for bad files."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from lit_project import load_run
from lit_project.datamodule import LitDataModule
from lit_project.engine.errors import InputError
from lit_project.train import main


def _ready(**arguments: Any) -> LitDataModule:
    datamodule = LitDataModule(**arguments)
    datamodule.setup("fit")
    return datamodule


def _table(folder: Path, suffix: str = ".csv", **columns: Any) -> str:
    path = folder / f"table{suffix}"
    rows = {
        "size": [float(i) for i in range(20)],
        "town": [("Bonn", "Köln", "Lünen, Nord")[i % 3] for i in range(20)],
        "kind": ["flat", "house"] * 10,
    }
    frame = pl.DataFrame(rows | columns)
    frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
    return str(path)


def test_a_batch_has_the_documented_shape_and_type() -> None:
    numbers, codes, y = next(iter(_ready().train_dataloader()))
    assert (numbers.shape, codes.shape, y.shape) == ((32, 30), (32, 0), (32,))
    assert (numbers.dtype, codes.dtype, y.dtype) == (torch.float32, torch.int64, torch.int64)


def test_the_splits_are_disjoint_and_complete() -> None:
    splits = _ready().splits
    rows = torch.cat(list(splits.values())).tolist()
    assert sorted(rows) == list(range(569))
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 397, "val": 86, "test": 86}


def test_the_split_is_the_same_every_time() -> None:
    assert torch.equal(_ready().splits["test"], _ready().splits["test"])
    assert not torch.equal(_ready().splits["test"], _ready(split_seed=1).splits["test"])


def test_training_comes_in_a_new_order_each_epoch_unless_asked_otherwise() -> None:
    loader = _ready().train_dataloader()
    assert not torch.equal(next(iter(loader))[0], next(iter(loader))[0])
    loader = _ready(shuffle=False).train_dataloader()
    assert torch.equal(next(iter(loader))[0], next(iter(loader))[0])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_your_own_data_is_taken_by_config_alone(workdir: Path, suffix: str) -> None:
    path = _table(workdir, suffix)
    main(["fit", "--name", "own", "--data.path", path, "--data.target", "kind", "--trainer.accelerator", "cpu"])
    new = workdir / "new.csv"  # without the target, in another order, with a town that nobody knew
    new.write_text("town,size\nBonn,3\nAachen,4\n")
    main(["predict", "--data.path", str(new)])
    written = pl.read_csv("runs/own/predictions.csv")
    assert written.columns == ["row", "kind", "probability_flat", "probability_house"]

    Path(path).unlink()
    run = load_run("runs/own")
    assert not run.model.training
    predicted = run.predict(path=str(new))
    assert predicted["kind"] == written["kind"].to_list()
    assert predicted["probability_flat"] == pytest.approx(written["probability_flat"].to_list())


def test_bad_data_leaves_no_run_behind(workdir: Path) -> None:
    path = _table(workdir, kind=["flat"] * 20)
    with pytest.raises(SystemExit, match="column 'kind' holds one class only, 'flat': there must be two"):
        main(["fit", "--data.path", path, "--data.target", "kind"])
    assert not list(Path("runs").glob("*"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"size": [1.0] * 10 + [None] * 10}, "column 'size' must hold numbers, but row 11 holds nothing"),
        ({"size": [0.0] * 19 + [float("nan")]}, "column 'size' must hold numbers, but row 20 holds nan"),
        ({"size": [0.0] * 19 + [float("inf")]}, "column 'size' must hold numbers, but row 20 holds inf"),
        ({"size": ["1"] * 19 + ["n/a"]}, "column 'size' mixes numbers and text, row 20 holds 'n/a'"),
        ({"town": ["Bonn"] * 19 + ["53"]}, "column 'town' mixes numbers and text, row 20 holds '53'"),
        ({"town": ["Bonn"] * 19 + [None]}, "column 'town' must hold a category, but row 20 holds nothing"),
        ({"kind": ["flat", None] * 10}, "column 'kind' must hold a category, but row 2 holds nothing"),
        ({"kind": [0.5 * i for i in range(20)]}, "column 'kind' holds 20 different values in 20 rows"),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _ready(path=_table(tmp_path, **columns), target="kind")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.csv", None, "there is no such file"),
        ("empty.csv", "", "is empty"),
        ("target.csv", "kind\na\nb\n", "no column besides the target 'kind'"),
        ("header.csv", "size,kind\n", "no rows"),
        ("one.csv", "size,kind\n1,a\n", "column 'kind' holds one class only"),
        ("few.csv", "size,kind\n1,a\n2,b\n3,a\n4,b\n", "4 rows leave 0 for the val split"),
        ("table.xlsx", "", "ends in .csv or .parquet"),
        ("latin.csv", b"size,kind\n\xe9,1\n", "cannot be read"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: str | bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as error:
        _ready(path=str(path), target="kind")
    assert name in str(error.value)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column 'sort'; it has: size, town, kind"):
        _ready(path=_table(tmp_path), target="sort")
    with pytest.raises(InputError, match=r"--data\.target; .* has: size, town, kind"):
        _ready(path=_table(tmp_path))


def test_a_column_renamed_since_training_is_named(tmp_path: Path) -> None:
    fitted = _ready(path=_table(tmp_path), target="kind").fitted
    new = tmp_path / "new.csv"
    new.write_text("area,town\n3,Bonn\n")
    with pytest.raises(InputError, match=r"new\.csv has no column 'size'; it has: area, town"):
        LitDataModule(path=str(new), fitted=fitted).setup("predict")


def test_only_the_training_rows_are_measured() -> None:
    numbers, *_ = next(iter(_ready(batch_size=1000).train_dataloader()))
    torch.testing.assert_close(numbers.mean(dim=0), torch.zeros(30), atol=1e-5, rtol=0)
    torch.testing.assert_close(numbers.std(dim=0, correction=0), torch.ones(30))


def test_every_split_has_its_share_of_every_class() -> None:
    datamodule = _ready()
    malignant = {name: (datamodule.y[rows] == 1).float().mean() for name, rows in datamodule.splits.items()}
    assert max(malignant.values()) - min(malignant.values()) < 0.01


def test_a_class_that_would_not_be_trained_on_is_named(tmp_path: Path) -> None:
    path = _table(tmp_path, kind=["flat", "house"] * 9 + ["barn", "barn"])
    assert _ready(path=path, target="kind").num_classes == 3
    with pytest.raises(InputError, match="class 'barn' has too few rows to leave one for the train split"):
        _ready(path=path, target="kind", val_fraction=0.45, test_fraction=0.45).setup("fit")


def test_a_class_that_training_did_not_know_is_named(tmp_path: Path) -> None:
    fitted = _ready(path=_table(tmp_path), target="kind").fitted
    path = _table(tmp_path, kind=["flat", "barn"] * 10)
    with pytest.raises(InputError, match="row 2 holds class 'barn', which was not there in training"):
        LitDataModule(path=path, fitted=fitted).setup("test")


def test_categories_are_numbered_and_the_unknown_is_0(tmp_path: Path) -> None:
    trained = _ready(path=_table(tmp_path), target="kind")
    assert trained.cardinalities == [3]
    assert _ready(path=_table(tmp_path), target="kind", categorical=["size"]).cardinalities == [12, 3]
    new = tmp_path / "new.csv"
    new.write_text("size,town\n1,Bonn\n2,Aachen\n")
    datamodule = LitDataModule(path=str(new), fitted=trained.fitted)
    datamodule.setup("predict")
    _, codes = next(iter(datamodule.predict_dataloader()))
    assert codes.tolist() == [[1], [0]]


def test_numbers_may_be_classes_and_categories(workdir: Path) -> None:
    path = _table(workdir, kind=[3, 7] * 10)
    main(["fit", "--data.path", path, "--data.target", "kind", "--data.categorical", "[size]"])
    main(["predict"])
    [predictions] = Path("runs").glob("*/predictions.csv")
    assert set(pl.read_csv(predictions)["kind"]) <= {3, 7}
    assert load_run(predictions.parent).datamodule.hparams["fitted"]["classes"] == ["3", "7"]
