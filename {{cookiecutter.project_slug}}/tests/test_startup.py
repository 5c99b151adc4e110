"""What a start costs: help without PyTorch, pictures and datasets only where they are needed."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from {{ cookiecutter.project_slug }}.engine.startup import SUBCOMMANDS, quick_imports
from {{ cookiecutter.project_slug }}.train import main


def in_new_process(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("args", [["--help"], ["-h"], [], ["fitt"]], ids=str)
def test_help_and_errors_about_subcommands_need_no_pytorch(args: list[str]) -> None:
    code = f"""
import sys
from {{ cookiecutter.project_slug }}.train import main
try:
    main({args})
finally:
    print("torch" in sys.modules or "lightning" in sys.modules)
"""
    result = in_new_process(code)
    *lines, heavy = result.stdout.splitlines()
    assert heavy == "False"
    if args in (["--help"], ["-h"]):
        assert result.returncode == 0
        assert all(f"    {name} " in result.stdout for name in SUBCOMMANDS)
    else:
        assert result.returncode == 2
        assert not lines
        [line] = result.stderr.splitlines()
        assert line.startswith("error: ")


def test_every_subcommand_of_the_help_has_its_own_help(capsys: pytest.CaptureFixture[str], workdir: Path) -> None:
    for name in SUBCOMMANDS:
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        assert end.value.code == 0
        assert "--data CONFIG" in capsys.readouterr().out


def test_garbage_is_collected_again_after_the_imports() -> None:
    result = in_new_process(
        "import gc\n"
        "from {{ cookiecutter.project_slug }}.engine.startup import quick_imports\n"
        "with quick_imports():\n"
        "    during = gc.isenabled()\n"
        "print(during, gc.isenabled(), gc.get_freeze_count() > 0)"
    )
    assert result.stdout.split() == ["False", "True", "True"]
    before = gc.get_freeze_count()
    with quick_imports():  # this process has imported PyTorch
        assert gc.isenabled()
    assert gc.get_freeze_count() == before
