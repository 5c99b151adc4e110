"""The data: what is special about this dataset."""

from pathlib import Path

import pytest
import torch
from examples import TARGETS, make_datamodule

from lit_project.data.table import Table
from lit_project.datamodule import LitDataModule
from lit_project.engine.errors import InputError
from lit_project.train import main


def _own(folder: Path, goal: list[object] = TARGETS, **arguments: object) -> LitDataModule:
    towns = ["Bonn", "Köln", "Lünen"] * 7
    lines = [f"{row},{town},{value}" for row, (town, value) in enumerate(zip(towns, goal, strict=False))]
    path = folder / "own.csv"
    path.write_text("\n".join(["size,town,goal", *lines]))
    return make_datamodule(path=str(path), target="goal", **arguments)


def test_batch_has_the_documented_shape_and_type() -> None:
    x, y = next(iter(make_datamodule().train_dataloader()))
    assert (x.shape, y.shape) == ((32, 10), (32, 1))
    assert x.dtype == y.dtype == torch.float32


def test_splits_are_complete() -> None:
    sizes = {name: len(rows) for name, rows in make_datamodule().splits.items()}
    assert sizes == {"train": 310, "val": 66, "test": 66}


def test_bad_data_leave_no_run_behind(workdir: Path) -> None:
    Path("own.csv").write_text("size,price\n" + "1,one\n" * 20)
    with pytest.raises(SystemExit, match="column 'price' must hold numbers, but row 1 holds 'one'"):
        main(["fit", "--data.path", "own.csv", "--data.target", "price"])
    assert not list(Path("runs").glob("*"))


def test_bad_target_is_named_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column 'goal' must hold numbers, but row 20 holds inf"):
        _own(tmp_path, [0.0] * 19 + ["inf"])


def test_every_category_gets_a_column(tmp_path: Path) -> None:
    datamodule = _own(tmp_path, batch_size=20)
    x, _ = next(iter(datamodule.train_dataloader()))
    assert datamodule.in_features == x.shape[1] == 4
    assert torch.equal(x[:, 1:].sum(dim=1), torch.ones(len(x)))
    assert _own(tmp_path, categorical=["size"]).in_features == 14 + 3


def test_unseen_category_gets_zeros(tmp_path: Path) -> None:
    datamodule = _own(tmp_path)
    (tmp_path / "new.csv").write_text("size,town\n3,Aachen\n")
    [x] = datamodule.encode(Table.read(str(tmp_path / "new.csv"), ["size", "town"]))
    assert x[0, 1:].tolist() == [0.0, 0.0, 0.0]


def test_predictions_are_in_the_unit_of_the_target(tmp_path: Path) -> None:
    datamodule = _own(tmp_path, [100 + row for row in range(20)])
    [mean] = datamodule.decode(torch.zeros(1, 1))["goal"]
    assert mean == pytest.approx(sum(100 + row for row in datamodule.splits["train"].tolist()) / 14)
