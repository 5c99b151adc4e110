"""What there is to look at after a validation."""

from pathlib import Path

import pytest
import torch

from lit_project.datamodule import LitDataModule
from lit_project.report import LitReport
from lit_project.train import main


def test_a_run_leaves_its_report(workdir: Path) -> None:
    main(["fit", "--name", "first", "--config", "configs/smoke.yaml", "--trainer.accelerator", "cpu"])
    main(["test"])
    for name in ("predicted.png", "predicted-test.png"):
        assert Path("runs/first", name).read_bytes().startswith(b"\x89PNG")


def test_the_report_shows_every_row_in_the_unit_of_the_target() -> None:
    datamodule = LitDataModule()
    datamodule.setup("fit")
    y = datamodule.y[datamodule.splits["val"]]
    figures = LitReport().draw(datamodule, "val", {"y": y, "y_hat": torch.zeros_like(y)})
    [axes] = figures["predicted"].axes
    true, predicted = axes.collections[0].get_offsets().T  # type: ignore[union-attr]
    assert list(true) == pytest.approx(datamodule.table.numbers("progression")[datamodule.splits["val"]].tolist())
    assert list(predicted) == pytest.approx([datamodule.fitted["target_mean"]] * len(y))
