"""The math and the engine run unchanged on every device, because none of them names one."""

import re

import pytest

from conftest import REPO

DEVICE = re.compile(r"\b(cuda|gpu|mps|tpu|xla)\b|\.cpu\(|\.to\(|\bdevice=", re.IGNORECASE)
MATH = [path for path in REPO.glob("templates/task/*/*.py") if not path.name.startswith("test_")]
PACKAGE = REPO / "{{cookiecutter.project_slug}}" / "src"
# These shard over devices, save their random states, move saved metrics to them, describe the hardware, set it up, and
# exchange tensors between them.
ALLOWED = {"fsdp.py", "random_state.py", "epoch_metrics.py", "provenance.py", "hardware.py", "processes.py"}
ENGINE = [path for path in PACKAGE.glob("*/engine/*.py") if path.name not in ALLOWED]


@pytest.mark.parametrize("path", sorted(MATH + ENGINE), ids=lambda path: path.relative_to(REPO).as_posix())
def test_math_and_engine_name_no_device(path) -> None:
    code = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)  # a docstring may explain one
    code = re.sub(r"#.*", "", code)
    assert not DEVICE.search(code)


def test_every_task_is_searched() -> None:
    assert len(MATH) >= 3 * len(list(REPO.glob("templates/task/*")))
    assert len(ENGINE) > 10
