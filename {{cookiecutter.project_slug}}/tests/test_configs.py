"""Every file under configs/ says something that the command line understands."""

import re
from pathlib import Path

import pytest
import yaml

from {{ cookiecutter.project_slug }}.train import main

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("configs/**/*.yaml"))


def _resolve(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, dict[str, object]]:
    with pytest.raises(SystemExit) as end:
        main(["fit", *args, "--print_config"])
    assert end.value.code == 0
    resolved: dict[str, dict[str, object]] = yaml.safe_load(capsys.readouterr().out)
    return resolved


@pytest.mark.parametrize("path", CONFIGS)
def test_every_config_is_understood_and_changes_what_it_says(
    path: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resolved = _resolve(capsys, "--config", path)
    for name, value in yaml.safe_load(Path(path).read_text())["trainer"].items():
        if isinstance(value, (str, int, float)):
            assert resolved["trainer"][name] == value, name


def test_a_later_config_wins_and_the_command_line_wins_over_both(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cpu, gpu = "configs/accelerator/cpu.yaml", "configs/accelerator/gpu.yaml"
    trainer = _resolve(capsys, "--config", gpu, "--config", cpu, "--trainer.precision", "64-true")["trainer"]
    assert (trainer["accelerator"], trainer["precision"]) == ("cpu", "64-true")


def test_no_line_of_the_code_names_a_device() -> None:
    device = re.compile(r"\b(cuda|gpu|mps|tpu|xla)\b|\.cpu\(|\.to\(|device=")
    for path in ROOT.glob("src/**/*.py"):
        code = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)
        assert not device.search(code), path
