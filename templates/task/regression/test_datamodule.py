"""The data: what is special about this dataset."""

import math
from pathlib import Path

import polars as pl
import pytest
import torch
from examples import TARGETS, make_datamodule

from lit_project.datamodule import LitDataModule
from lit_project.engine.errors import InputError
from lit_project.train import main


def _own(folder: Path, goal: list[object] = TARGETS, **arguments: object) -> LitDataModule:
    towns = ["Bonn", "Köln", "Lünen"] * 7
    lines = [f"{row / 2},{town},{value}" for row, (town, value) in enumerate(zip(towns, goal, strict=False))]
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
    Path("own.csv").write_text("size,price\n" + "1,one\n2,one\n" * 10)
    with pytest.raises(SystemExit, match="column 'price' must hold numbers to be predicted, but holds 'one'"):
        main(["fit", "--data.path", "own.csv", "--data.target", "price"])
    assert not list(Path("runs").glob("*"))


def test_bad_target_is_named_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column 'goal' holds numbers, but row 20 holds 'inf'; fix it"):
        _own(tmp_path, [0.0] * 19 + ["inf"])


def test_every_category_gets_a_column(tmp_path: Path) -> None:
    datamodule = _own(tmp_path, batch_size=20)
    x, _ = next(iter(datamodule.train_dataloader()))
    assert datamodule.in_features == x.shape[1] == 4
    assert torch.equal(x[:, 1:].sum(dim=1), torch.ones(len(x)))
    assert _own(tmp_path, categorical=["size"]).in_features == 14 + 3


def test_unseen_category_gets_zeros(tmp_path: Path) -> None:
    trained = _own(tmp_path)
    (tmp_path / "new.csv").write_text("size,town\n3,Aachen\n")
    new = LitDataModule(path=str(tmp_path / "new.csv"), target="goal")
    new.load_state_dict(trained.state_dict())
    new.setup("predict")
    assert new.x[0][0, 1:].tolist() == [0.0, 0.0, 0.0]


def test_predictions_are_in_the_unit_of_the_target(tmp_path: Path) -> None:
    datamodule = _own(tmp_path, [100 + row for row in range(20)])
    [mean] = datamodule.decode(torch.zeros(1, 1))["goal"]
    assert mean == pytest.approx(sum(100 + row for row in datamodule.splits["train"].tolist()) / 14)


def test_several_targets_are_predicted_at_once() -> None:
    frame = pl.DataFrame({"size": [row / 2 for row in range(20)], "a €": range(20), "b": [1000.0] * 10 + [3000.0] * 10})
    datamodule = make_datamodule(path=frame, target=["a €", "b"])
    assert datamodule.y.shape == (20, 2)
    assert datamodule.target_names == ["a_", "b"]
    decoded = datamodule.decode(datamodule.y)
    assert list(decoded) == ["a €", "b"]
    for name, values in decoded.items():
        assert values == pytest.approx(frame[name].to_list(), abs=1e-4)


def test_logarithm_of_the_target_is_learned_and_undone() -> None:
    goal = [10.0**row for row in range(20)]
    frame = pl.DataFrame({"size": [row / 2 for row in range(20)], "goal": goal})
    datamodule = make_datamodule(path=frame, target="goal", log_target=True)
    train = datamodule.splits["train"]
    assert datamodule.target_mean == pytest.approx([sum(math.log1p(goal[row]) for row in train) / len(train)])
    assert datamodule.decode(datamodule.y)["goal"] == pytest.approx(goal, rel=1e-4)
    with pytest.raises(InputError, match=r"column 'goal' holds -1; --data\.log_target needs 0 or more"):
        make_datamodule(path=frame.with_columns(goal=pl.lit(-1)), target="goal", log_target=True)


def test_target_is_measured_on_the_training_rows() -> None:
    split = ["train"] * 10 + ["val"] * 5 + ["test"] * 5
    frame = pl.DataFrame({"size": [row / 2 for row in range(20)], "split": split})
    near, far = (
        make_datamodule(path=frame.with_columns(goal=pl.Series(goal)), target="goal", split_column="split")
        for goal in ([1.0, 3.0] * 10, [1.0, 3.0] * 5 + [1e6] * 10)
    )
    assert (near.target_mean, near.target_std) == (far.target_mean, far.target_std) == ([2.0], [1.0])
