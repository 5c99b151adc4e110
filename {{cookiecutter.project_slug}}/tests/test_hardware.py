"""What is set on a GPU alone; a stand-in for a Trainer names the device, since no test needs one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT, error_line
from torch.utils.data import DataLoader

from {{ cookiecutter.project_slug }}.engine import hardware


def _trainer(device: str) -> Any:
    return SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(device)))


@pytest.mark.parametrize(
    ("device", "workers", "pinned"), [("cuda", 1, True), ("cuda", 0, False), ("cpu", 1, False), ("mps", 1, False)]
)
def test_batches_of_worker_processes_are_pinned_on_a_gpu(device: str, workers: int, pinned: bool) -> None:
    loader: DataLoader[int] = DataLoader(range(4), num_workers=workers)  # type: ignore[arg-type]
    hardware.pin_batches(_trainer(device), loader)
    assert loader.pin_memory == pinned


def test_matrix_products_are_less_precise_on_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", given.append)
    for device in ("cpu", "cuda"):
        hardware.set_matmul_precision(_trainer(device), "high")
    assert given == ["high"]
    config = yaml.safe_load((ROOT / "configs/accelerator/gpu.yaml").read_text())
    assert config["matmul_precision"] == "high"


def test_unknown_precision_of_matrix_products_is_named(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = error_line(["fit", "--matmul_precision", "low"], capsys)
    assert line == "error: --matmul_precision low: must be highest, high or medium"
