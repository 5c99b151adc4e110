"""What there is to look at after a validation."""

from pathlib import Path

import torch
from torch.nn.functional import one_hot

from lit_project.datamodule import LitDataModule
from lit_project.report import LitReport
from lit_project.train import main


def test_a_run_leaves_its_report(workdir: Path) -> None:
    main(["fit", "--name", "first", "--config", "configs/smoke.yaml", "--trainer.accelerator", "cpu"])
    main(["test"])
    for name in ("confusion.png", "confusion-test.png", "mistakes.png"):
        assert Path("runs/first", name).read_bytes().startswith(b"\x89PNG")


def test_the_report_shows_which_class_is_taken_for_which() -> None:
    datamodule = LitDataModule()
    datamodule.setup("fit")
    rows = datamodule.splits["val"]
    y = datamodule.y[rows]
    y_hat = one_hot(y, 10).float()
    y_hat[5] = one_hot((y[5] + 1) % 10, 10)  # one mistake
    figures = LitReport().draw(datamodule, "val", {"y": y, "y_hat": y_hat})
    numbers = [int(text.get_text()) for text in figures["confusion"].axes[0].texts]
    assert sorted(numbers)[:90] == [0] * 89 + [1]
    [axes] = figures["mistakes"].axes
    name = datamodule.names[int(rows[5])]
    assert axes.get_title().startswith(f"{name}\n{datamodule.labels[name]} → ")
    shown = torch.as_tensor(axes.images[0].get_array()).squeeze()
    assert torch.equal(shown, datamodule.read(datamodule.found[name])[0])


def test_without_a_mistake_there_is_no_sheet_of_them() -> None:
    datamodule = LitDataModule()
    datamodule.setup("fit")
    y = datamodule.y[datamodule.splits["val"]]
    figures = LitReport().draw(datamodule, "val", {"y": y, "y_hat": one_hot(y, 10).float()})
    assert set(figures) == {"confusion"}
