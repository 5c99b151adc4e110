"""Every file under configs/ that `fit` reads sets what it says."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from {{ cookiecutter.project_slug }}.train import main

CONFIGS = sorted(
    str(path.relative_to(ROOT)) for path in ROOT.glob("configs/**/*.yaml") if path.name != "sweep.yaml"
)  # which `sweep` reads


def _resolve(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    with pytest.raises(SystemExit) as end:
        main(["fit", *args, "--print_config"])
    assert end.value.code == 0
    trainer: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)["trainer"]
    return trainer


@pytest.mark.parametrize("path", CONFIGS)
def test_every_config_sets_what_it_says(path: str, workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resolved = _resolve(capsys, "--config", path)
    says = yaml.safe_load(Path(path).read_text()).get("trainer", {})
    for name, value in says.items():
        if isinstance(value, (str, int, float)):
            assert resolved[name] == value, name
    added = [callback["class_path"].split(".")[-1] for callback in says.get("callbacks+", [])]
    names = [callback["class_path"].split(".")[-1] for callback in resolved["callbacks"]]
    assert names[len(names) - len(added) :] == added
    assert "LearningRateMonitor" in names  # from train.yaml


def test_later_config_wins_and_command_line_wins_over_both(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cpu, gpu = "configs/accelerator/cpu.yaml", "configs/accelerator/gpu.yaml"
    trainer = _resolve(capsys, "--config", gpu, "--config", cpu, "--trainer.precision", "64-true")
    assert (trainer["accelerator"], trainer["precision"]) == ("cpu", "64-true")
