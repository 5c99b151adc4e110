"""The pictures of a validation."""

from pathlib import Path

import pytest
import torch
from examples import make_datamodule

from lit_project.report import LitReport
from lit_project.train import main


def test_run_leaves_its_report(trained: Path) -> None:
    main(["test"])
    for name in ("predicted.png", "predicted-test.png"):
        assert (trained / name).read_bytes().startswith(b"\x89PNG")


def test_report_shows_every_row_in_the_unit_of_the_target() -> None:
    datamodule = make_datamodule()
    y = datamodule.y[datamodule.splits["val"]]
    figures = LitReport().draw(datamodule, "val", torch.zeros_like(y), y)
    [axes] = figures["predicted"].axes
    true, predicted = axes.collections[0].get_offsets().T  # type: ignore[union-attr]
    assert list(true) == pytest.approx(datamodule.table.numbers("progression")[datamodule.splits["val"]].tolist())
    assert list(predicted) == pytest.approx(datamodule.target_mean * len(y))
