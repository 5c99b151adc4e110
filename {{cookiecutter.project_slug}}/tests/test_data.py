"""What every datamodule must keep: the same split every time, and its state in the checkpoint."""

import io
from typing import Any

import torch
from examples import make_datamodule

from {{ cookiecutter.project_slug }}.datamodule import LitDataModule


def _first_input(loader: Any) -> torch.Tensor:
    batch: list[torch.Tensor] = next(iter(loader))
    return batch[0]


def _rows(datamodule: LitDataModule) -> dict[str, list[int]]:
    return {name: [int(row) for row in rows] for name, rows in datamodule.splits.items()}


def test_split_is_the_same_every_time() -> None:
    assert _rows(make_datamodule()) == _rows(make_datamodule())
    assert _rows(make_datamodule())["val"] != _rows(make_datamodule(test_fraction=0.3))["val"]


def test_no_row_is_in_two_splits() -> None:
    rows = [row for split in _rows(make_datamodule()).values() for row in split]
    assert len(rows) == len(set(rows))


def test_training_data_are_reshuffled_every_epoch() -> None:
    shuffled, ordered = (make_datamodule(shuffle=shuffle).train_dataloader() for shuffle in (True, False))
    assert not torch.equal(_first_input(shuffled), _first_input(shuffled))
    assert torch.equal(_first_input(ordered), _first_input(ordered))


def test_evaluation_data_keep_their_order() -> None:
    datamodule = make_datamodule()
    for loader in (datamodule.val_dataloader(), datamodule.test_dataloader()):
        assert torch.equal(_first_input(loader), _first_input(loader))


def test_state_is_restored_from_a_checkpoint() -> None:
    trained = make_datamodule()
    file = io.BytesIO()
    torch.save(trained.state_dict() | {"mark": 1}, file)  # measuring the data again would lose the mark
    file.seek(0)
    restored = LitDataModule()
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert restored.state_dict() == trained.state_dict() | {"mark": 1}
    restored.setup("test")
    assert torch.equal(_first_input(restored.test_dataloader()), _first_input(trained.test_dataloader()))
