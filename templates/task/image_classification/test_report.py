"""The pictures of a validation."""

from pathlib import Path

import torch
from examples import make_datamodule
from torch.nn.functional import one_hot

from lit_project.report import LitReport
from lit_project.train import main


def test_run_leaves_its_report(trained: Path) -> None:
    main(["test"])
    for name in ("confusion.png", "confusion-test.png", "mistakes.png", "mistakes-test.png"):
        assert (trained / name).read_bytes().startswith(b"\x89PNG")


def test_report_shows_confusions_and_mistakes() -> None:
    datamodule = make_datamodule()
    rows = datamodule.splits["val"]
    y = datamodule.y[rows]
    y_hat = one_hot(y, 10).float()
    assert set(LitReport().draw(datamodule, "val", y_hat, y)) == {"confusion"}  # no mistakes
    y_hat[5] = one_hot((y[5] + 1) % 10, 10)  # a single mistake
    figures = LitReport().draw(datamodule, "val", y_hat, y)
    numbers = [int(text.get_text()) for text in figures["confusion"].axes[0].texts]
    assert sorted(numbers)[:90] == [0] * 89 + [1]
    [axes] = figures["mistakes"].axes
    name = datamodule.names[int(rows[5])]
    assert axes.get_title().startswith(f"{name}\n{datamodule.labeled[name].name} → ")
    shown = torch.as_tensor(axes.images[0].get_array()).squeeze()
    assert torch.equal(shown, datamodule.read(datamodule.found[name])[0])
