"""The rendered README's table "To change …": every row is true, counted in files and lines."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import CHOICES, Render, train

MODULE = "src/my_lightning_project/module.py"
QUICK = ["--config", "configs/smoke.yaml", "--trainer.accelerator", "cpu", "--trainer.limit_train_batches", "2"]
LOSS = {
    "regression": ("nn.MSELoss()", "nn.HuberLoss()"),
    "classification": ("nn.CrossEntropyLoss(weight)", "nn.CrossEntropyLoss(weight, label_smoothing=0.1)"),
    "image_classification": ("nn.CrossEntropyLoss(weight)", "nn.CrossEntropyLoss(weight, label_smoothing=0.1)"),
    "language_model": ("nn.CrossEntropyLoss()", "nn.CrossEntropyLoss(label_smoothing=0.1)"),
}
OPTIMIZER = {
    "regression": ("optim.SGD(self.parameters(), lr=self.lr)", "optim.Adagrad(self.parameters(), lr=self.lr)"),
    "classification": ("optim.AdamW(", "optim.NAdam("),
    "image_classification": ("optim.AdamW(", "optim.NAdam("),
    "language_model": ("optim.AdamW(groups", "optim.NAdam(groups"),
}
METRIC = {
    "regression": [
        ("MetricCollection, R2Score", "MetricCollection, PearsonCorrCoef, R2Score"),
        ('"r2": R2Score()}', '"r2": R2Score(), "x": PearsonCorrCoef()}'),
    ],
    "classification": [
        ("    MulticlassF1Score,\n", "    MulticlassF1Score,\n    MulticlassRecall,\n"),
        (
            '"auroc": MulticlassAUROC(num_classes),',
            '"auroc": MulticlassAUROC(num_classes), "x": MulticlassRecall(2),',
        ),
    ],
    "image_classification": [
        ("MulticlassAccuracy, MulticlassF1Score", "MulticlassAccuracy, MulticlassF1Score, MulticlassRecall"),
        ('average="macro"),\n            }', 'average="macro"), "x": MulticlassRecall(10),\n            }'),
    ],
    "language_model": [
        ("from torchmetrics import MetricCollection", "from torchmetrics import MeanMetric, MetricCollection"),
        ('{"perplexity": Perplexity()}', '{"perplexity": Perplexity(), "x": Perplexity(ignore_index=0)}'),
    ],
}


@dataclass
class Change:
    """A row of the table, by the start of its first cell, with edits of `module.py` that it describes."""

    row: str
    edits: list[tuple[str, str]]


def _apply(project: Path, change: Change) -> int:
    """Edit, and count the lines that are changed or added."""
    before = text = (project / MODULE).read_text()
    for old, new in change.edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (project / MODULE).write_text(text)
    return sum(line.startswith("+ ") for line in difflib.ndiff(before.splitlines(), text.splitlines()))


@pytest.mark.parametrize("task", CHOICES["task"])
def test_optimizer_loss_and_metric_take_as_many_lines_as_the_table_says(task: str, render: Render) -> None:
    project = render(task=task, logger="csv")
    table = re.findall(r"^\| (.+?) \| .*? \| (.+?) \|$", (project / "README.md").read_text(), flags=re.MULTILINE)
    promised = {row: int(found[-1]) for row, cell in table if (found := re.findall(r"(\d+) lines?", cell))}
    for change in (
        Change("the optimizer", [OPTIMIZER[task]]),
        Change("the loss", [LOSS[task]]),
        Change("a metric", METRIC[task]),
    ):
        assert _apply(project, change) == promised[change.row], change.row
    train(project, "fit", "--name", "first", *QUICK)
    header = (project / "runs/first/metrics.csv").read_text().splitlines()[0]
    assert "val_x" in header.split(",")


def test_settings_and_hardware_take_no_file(render: Render) -> None:
    project = render(logger="csv")
    options = ["--model.lr", "0.02", "--optimizer", "AdamW", "--optimizer.lr", "0.003"]
    added = ["--trainer.callbacks+=DeviceStatsMonitor", "--config", "configs/accelerator/cpu.yaml"]
    train(project, "fit", "--name", "first", *QUICK, *options, *added)
    assert (project / "runs/first/checkpoints/best.ckpt").exists()


def test_models_data_and_callbacks_take_two_files_each_as_the_overlay_shows(render: Render) -> None:
    """The overlay of the README, for what the first hour writes: nothing else in the project changes."""
    project = render(logger="csv")
    [overlay] = re.findall(r"```yaml\n(.*?)```", (project / "README.md").read_text(), flags=re.DOTALL)
    (project / "configs/other.yaml").write_text(overlay)
    here = Path(__file__).parent / "first_hour"
    names = {"regression_model": "OtherModel", "regression_data": "OtherData", "callback": "OtherCallback"}
    imports = "".join(
        f"from my_lightning_project.{file} import {name.replace('Other', 'Own')} as {name}\n"
        for file, name in names.items()
    )
    for file in names:
        (project / f"src/my_lightning_project/{file}.py").write_text((here / f"{file}.py").read_text())
    (project / "src/my_lightning_project/other.py").write_text(imports)
    train(project, "fit", "--name", "first", *QUICK, "--config", "configs/other.yaml")
    assert (project / "batches.txt").exists()
