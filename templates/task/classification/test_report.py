"""The pictures of a validation."""

from pathlib import Path

import torch
from examples import make_datamodule
from torch.nn.functional import one_hot

from lit_project.engine.mistakes import worst_mistakes
from lit_project.report import LitReport
from lit_project.train import main


def test_run_leaves_its_report(trained: Path) -> None:
    main(["test"])
    for name in ("confusion.png", "confusion-test.png", "mistakes.png"):
        assert (trained / name).read_bytes().startswith(b"\x89PNG")


def test_report_shows_confusions_and_mistakes() -> None:
    datamodule = make_datamodule()
    y = datamodule.y[datamodule.splits["val"]]
    benign = one_hot(torch.zeros_like(y), 2).float()  # for every row
    figures = LitReport().draw(datamodule, "val", benign, y)
    numbers = [text.get_text() for text in figures["confusion"].axes[0].texts]
    assert numbers == [str(int((y == 0).sum())), "0", str(int((y == 1).sum())), "0"]
    cells = figures["mistakes"].axes[0].tables[0].get_celld()
    row = int(cells[1, 0].get_text().get_text()) - 1
    assert datamodule.table.frame["diagnosis"][row] == cells[1, 1].get_text().get_text() == "malignant"
    assert set(LitReport().draw(datamodule, "val", one_hot(y, 2).float(), y)) == {"confusion"}  # no mistakes


def test_most_confident_mistake_comes_first() -> None:
    y_hat = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 9.0], [5.0, 0.0]])
    mistakes = worst_mistakes(y_hat, torch.tensor([0, 0, 0, 1]))
    assert [mistake.position for mistake in mistakes] == [2, 3, 1]
    assert (mistakes[0].true, mistakes[0].predicted) == (0, 1)
    assert mistakes[0].probability > 0.99
