"""What a start costs: help without PyTorch, pictures and datasets only where they are needed."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import error_line

from {{ cookiecutter.project_slug }}.engine import known_options
from {{ cookiecutter.project_slug }}.engine.startup import SUBCOMMANDS, quick_imports
from {{ cookiecutter.project_slug }}.train import main

pytestmark = pytest.mark.slow  # it changes with the engine or with Lightning


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


@pytest.fixture
def kept(workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Keep the options as after a first run, and return the help of `fit`."""
    monkeypatch.setattr(known_options, "FILE", workdir / "options.json")
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for _ in range(2):  # the parser also lists classes of other tests, until they are collected
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main(["fit", "--help"])
    return capsys.readouterr().out


def test_help_and_misspelled_options_are_known_without_pytorch(kept: str, capsys: pytest.CaptureFixture[str]) -> None:
    typo = ["fit", "--config", "configs/smoke.yaml", "--trainer.max_epoch=3", "--model.lr", "-1"]
    code = f"""
import sys
from pathlib import Path
sys.argv[0] = {sys.argv[0]!r}
from {{ cookiecutter.project_slug }}.engine import known_options
known_options.FILE = Path("options.json")
from {{ cookiecutter.project_slug }}.train import main
for args in (["fit", "--help"], {typo}):
    try:
        main(args)
    except SystemExit as end:
        print(end.code, [name for name in ("lightning", "torch") if name in sys.modules])
"""
    result = in_new_process(code)
    message = "error: --trainer.max_epoch: no such option; did you mean --trainer.max_epochs?"
    message += " (--help lists the options)"
    assert (result.stdout, result.stderr) == (f"{kept}0 []\n2 []\n", f"{message}\n")
    Path("options.json").unlink()
    assert error_line(typo, capsys) == message  # and the parser says the same


def test_known_options_are_written_anew_after_a_change(kept: str) -> None:
    assert "--model.lr" in known_options._read()["options"]["fit"]
    with Path("configs/train.yaml").open("a") as file:
        file.write("# a change\n")
    assert known_options._read()["options"] == {}


@pytest.mark.parametrize(
    "options",
    [
        "--trainer.max_epochs=3 --model.lr 1 --data.batch_size 4",
        "--model own.OwnModel --model.depth 3",
        "--config own.yaml --data.depth 3",
        "--ckpt_path last --model.depths 3",
        "--model.init_args.lr 0.1 --model.class_path own.OwnModel",
        "--trainer.logger CSVLogger --trainer.logger.name x",
        "--trainer.callbacks+=Timer --trainer.callbacks.duration 00:00:01:00",
        "--optimizer Adam --optimizer.lr 3 --modle.help",
        "--modle 3 --print_config",
    ],
)
def test_only_the_parser_judges_options_of_other_classes(kept: str, options: str) -> None:
    known = known_options._read()["options"]
    expected = "--modle.help: no such option" if "--modle.help" in options else None
    found = known_options.misspelled(["fit", *options.split()], known)
    assert (found or "").partition("; did")[0].partition(" (")[0] == (expected or "")


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
