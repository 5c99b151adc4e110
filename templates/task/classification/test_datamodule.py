"""The data: what is special about this dataset."""

from pathlib import Path

import pytest
import torch
from examples import TARGETS, make_datamodule

from lit_project.datamodule import LitDataModule
from lit_project.engine.errors import InputError
from lit_project.train import main


def _own(folder: Path, goal: list[object] = TARGETS, name: str = "own.csv", **arguments: object) -> LitDataModule:
    lines = [f"{row / 2},{('Bonn', 'Köln', 'Lünen')[row % 3]},{value}" for row, value in enumerate(goal)]
    (folder / name).write_text("\n".join(["size,town,goal", *lines]))
    return make_datamodule(path=str(folder / name), target="goal", **arguments)


def test_batch_has_the_documented_shape_and_type() -> None:
    numbers, codes, y = next(iter(make_datamodule().train_dataloader()))
    assert (numbers.shape, codes.shape, y.shape) == ((32, 30), (32, 0), (32,))
    assert (numbers.dtype, codes.dtype, y.dtype) == (torch.float32, torch.int64, torch.int64)


def test_splits_are_complete() -> None:
    sizes = {name: len(rows) for name, rows in make_datamodule().splits.items()}
    assert sizes == {"train": 397, "val": 86, "test": 86}


def test_bad_data_leave_no_run_behind(workdir: Path) -> None:
    Path("own.csv").write_text("size,kind\n" + "1,flat\n2,flat\n" * 10)
    with pytest.raises(SystemExit, match="column 'kind' holds a single class, 'flat'; there must be two"):
        main(["fit", "--data.path", "own.csv", "--data.target", "kind"])
    assert not list(Path("runs").glob("*"))


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (["flat", ""] * 10, "column 'goal' holds a single class, 'flat'; there must be two"),
        ([0.5 * row for row in range(20)], "column 'goal' holds 20 different values in 20 rows"),
    ],
)
def test_bad_target_is_named(tmp_path: Path, goal: list[object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _own(tmp_path, goal)


def test_every_split_has_its_share_of_every_class() -> None:
    datamodule = make_datamodule()
    malignant = {name: (datamodule.y[rows] == 1).float().mean() for name, rows in datamodule.splits.items()}
    assert max(malignant.values()) - min(malignant.values()) < 0.01


def test_class_too_small_to_train_on_is_named(tmp_path: Path) -> None:
    goal: list[object] = [*["flat", "house"] * 9, "barn", "barn"]
    assert _own(tmp_path, goal).num_classes == 3
    with pytest.raises(InputError, match="class 'barn' has too few rows to leave one for the train split"):
        _own(tmp_path, goal, val_fraction=0.45, test_fraction=0.45)


def test_class_unseen_in_training_is_named(tmp_path: Path) -> None:
    trained = _own(tmp_path)
    other = _own(tmp_path, ["flat", "barn"] * 10, "other.csv")
    other.load_state_dict(trained.state_dict())
    with pytest.raises(InputError, match="row 2 holds class 'barn', unseen in training; known: flat, house"):
        other.setup("test")


def test_categories_are_numbered_and_unseen_ones_are_0(tmp_path: Path) -> None:
    datamodule = _own(tmp_path)
    assert datamodule.cardinalities == [3]
    assert _own(tmp_path, categorical=["size"]).cardinalities == [12, 3]
    (tmp_path / "new.csv").write_text("size,town\n1,Bonn\n2,Aachen\n")
    new = LitDataModule(path=str(tmp_path / "new.csv"), target="goal")
    new.load_state_dict(datamodule.state_dict())
    new.setup("predict")
    assert new.x[1].tolist() == [[1], [0]]


def test_numbers_may_be_classes(tmp_path: Path) -> None:
    datamodule = _own(tmp_path, [3, 7] * 10)
    assert datamodule.fitted["classes"] == ["3", "7"]
    assert datamodule.decode(torch.tensor([[0.0, 9.0]]))["goal"] == ["7"]


def test_rare_classes_get_more_weight_on_request(tmp_path: Path) -> None:
    goal: list[object] = [*["flat"] * 16, *["house"] * 4]
    plain, balanced = _own(tmp_path, goal), _own(tmp_path, goal, balance=True)
    assert plain.fitted["class_counts"] == [12, 2]
    assert plain.class_weights is None
    assert balanced.class_weights == pytest.approx([14 / (2 * 12), 14 / (2 * 2)])
    [line] = [line for line in plain.notes if "--data.balance true" in line]
    assert "flat 85.7%, house 14.3%" in line
    assert not any("--data.balance" in line for line in balanced.notes)


def test_positive_class_is_named_by_its_value(tmp_path: Path) -> None:
    assert _own(tmp_path).positive_class is None
    assert _own(tmp_path, positive="house").positive_class == 1
    with pytest.raises(InputError, match=r"--data\.positive barn: no such class; there are flat, house"):
        _ = _own(tmp_path, positive="barn").positive_class


def test_every_fold_has_its_share_of_every_class(tmp_path: Path) -> None:
    goal: list[object] = [*["flat"] * 24, *["house"] * 6]
    for fold in range(5):
        datamodule = _own(tmp_path, goal, folds=5, fold=fold, test_fraction=1 / 6)
        assert datamodule.y[datamodule.splits["val"]].tolist().count(1) == 1
