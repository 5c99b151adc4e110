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
        "price": list(range(20)),
    }
    frame = pl.DataFrame(rows | columns)
    frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
    return str(path)


def test_a_batch_has_the_documented_shape_and_type() -> None:
    x, y = next(iter(_ready().train_dataloader()))
    assert (x.shape, y.shape) == ((10, 10), (10, 1))
    assert x.dtype == y.dtype == torch.float32


def test_the_splits_are_disjoint_and_complete() -> None:
    splits = _ready().splits
    rows = torch.cat(list(splits.values())).tolist()
    assert sorted(rows) == list(range(442))
    assert {name: len(rows) for name, rows in splits.items()} == {"val": 66, "test": 66, "train": 310}


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
    main(["fit", "--name", "own", "--data.path", path, "--data.target", "price", "--trainer.accelerator", "cpu"])
    new = workdir / "new.csv"  # without the target, in another order, with a town that nobody knew
    new.write_text("town,size\nBonn,3\nAachen,4\n")
    main(["predict", "--data.path", str(new)])
    written = pl.read_csv("runs/own/predictions.csv")
    assert written.columns == ["row", "price"]

    Path(path).unlink()
    run = load_run("runs/own")
    assert not run.model.training
    assert run.predict(path=str(new))["price"] == pytest.approx(written["price"].to_list())


def test_bad_data_leaves_no_run_behind(workdir: Path) -> None:
    path = _table(workdir, price=["one"] * 20)
    with pytest.raises(SystemExit, match="column 'price' must hold numbers, but row 1 holds 'one'"):
        main(["fit", "--data.path", path, "--data.target", "price"])
    assert not list(Path("runs").glob("*"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"size": [1.0] * 10 + [None] * 10}, "column 'size' must hold numbers, but row 11 holds nothing"),
        ({"size": [0.0] * 19 + [float("nan")]}, "column 'size' must hold numbers, but row 20 holds nan"),
        ({"price": [0.0] * 19 + [float("inf")]}, "column 'price' must hold numbers, but row 20 holds inf"),
        ({"price": ["much"] * 20}, "column 'price' must hold numbers, but row 1 holds 'much'"),
        ({"size": ["1"] * 19 + ["n/a"]}, "column 'size' mixes numbers and text, row 20 holds 'n/a'"),
        ({"town": ["Bonn"] * 19 + ["53"]}, "column 'town' mixes numbers and text, row 20 holds '53'"),
        ({"town": ["Bonn"] * 19 + [None]}, "column 'town' must hold a category, but row 20 holds nothing"),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _ready(path=_table(tmp_path, **columns), target="price")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.csv", None, "there is no such file"),
        ("empty.csv", "", "is empty"),
        ("target.csv", "price\n1\n2\n", "no column besides the target 'price'"),
        ("header.csv", "size,price\n", "no rows"),
        ("one.csv", "size,price\n1,2\n", "1 rows leave 1 for the train split: add rows"),
        ("table.xlsx", "", "ends in .csv or .parquet"),
        ("latin.csv", b"size,price\n\xe9,1\n", "cannot be read"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: str | bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as error:
        _ready(path=str(path), target="price")
    assert name in str(error.value)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column 'prize'; it has: size, town, price"):
        _ready(path=_table(tmp_path), target="prize")
    with pytest.raises(InputError, match=r"--data\.target; .* has: size, town, price"):
        _ready(path=_table(tmp_path))


def test_fractions_that_leave_nothing_to_train_on_are_named() -> None:
    with pytest.raises(InputError, match="less than 1 together"):
        _ready(val_fraction=0.6, test_fraction=0.6)


def test_a_column_renamed_since_training_is_named(tmp_path: Path) -> None:
    fitted = _ready(path=_table(tmp_path), target="price").fitted
    new = tmp_path / "new.csv"
    new.write_text("area,town\n3,Bonn\n")
    with pytest.raises(InputError, match=r"new\.csv has no column 'size'; it has: area, town"):
        LitDataModule(path=str(new), fitted=fitted).setup("predict")


def test_only_the_training_rows_are_measured() -> None:
    loader = _ready(batch_size=1000).train_dataloader()
    x, y = next(iter(loader))
    for values in (x, y):
        torch.testing.assert_close(values.mean(dim=0), torch.zeros(values.shape[1]), atol=1e-5, rtol=0)
        torch.testing.assert_close(values.std(dim=0, correction=0), torch.ones(values.shape[1]))


def test_every_category_gets_a_column(tmp_path: Path) -> None:
    datamodule = _ready(path=_table(tmp_path), target="price", batch_size=20)
    x, _ = next(iter(datamodule.train_dataloader()))
    assert datamodule.in_features == x.shape[1] == 4
    assert torch.equal(x[:, 1:].sum(dim=1), torch.ones(len(x)))
    assert _ready(path=_table(tmp_path), target="price", categorical=["size"]).in_features == 14 + 3


def test_numbers_may_be_categories(workdir: Path) -> None:
    main(["fit", "--data.path", _table(workdir), "--data.target", "price", "--data.categorical", "[size]"])
    main(["predict"])
    [predictions] = Path("runs").glob("*/predictions.csv")
    assert load_run(predictions.parent).datamodule.hparams["fitted"]["categories"]["size"][0] == "0.0"


def test_predictions_come_back_in_the_unit_of_the_target(tmp_path: Path) -> None:
    datamodule = _ready(path=_table(tmp_path, price=[100 + i for i in range(20)]), target="price")
    [mean] = datamodule.decode(torch.zeros(1, 1))["price"]
    assert mean == pytest.approx(sum(100 + i for i in datamodule.splits["train"].tolist()) / 14)


def test_new_rows_are_measured_with_the_scales_of_training(tmp_path: Path) -> None:
    trained = _ready(path=_table(tmp_path), target="price")
    new = LitDataModule(path=_table(tmp_path, size=[1e6] * 20), fitted=trained.fitted)
    new.setup("predict")
    [x] = next(iter(new.predict_dataloader()))
    assert x[:, 0].min() > 1e4


def test_a_constant_column_stays_finite(tmp_path: Path) -> None:
    x, _ = next(iter(_ready(path=_table(tmp_path, size=[2] * 20), target="price").train_dataloader()))
    assert x.isfinite().all()
