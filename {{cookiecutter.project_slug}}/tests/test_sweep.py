"""`sweep`: what to search is read and checked before the first trial; trials are runs like any other."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, SHORT

from {{ cookiecutter.project_slug }}.engine import commands
from {{ cookiecutter.project_slug }}.engine.errors import InputError
from {{ cookiecutter.project_slug }}.sweep import space
from {{ cookiecutter.project_slug }}.sweep.__main__ import main
from {{ cookiecutter.project_slug }}.sweep.children import share_devices


def _written(folder: Path, **content: Any) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_file_of_the_search_is_read(tmp_path: Path) -> None:
    searched = {"model.lr": {"low": "1e-4", "high": 0.1, "log": True}, "model.width": {"choices": [[8], [16, 16]]}}
    search = space.read_search(_written(tmp_path, space=searched, fit="--config 'my own.yaml'"))
    assert search.space["model.lr"] == space.Parameter(0.0001, 0.1, log=True)
    assert search.space["model.lr"].contains(0.01)
    assert not search.space["model.lr"].contains(1)
    assert search.space["model.width"].contains([16, 16])
    assert search.fit == ["--config", "my own.yaml"]
    options = space.as_options({"model.width": [16, 16], "model.lr": 1e-05})
    assert options == ["--model.width=[16, 16]", "--model.lr=1e-05"]


def test_parameters_become_an_overlay() -> None:
    paths = {"model.lr": ["model", "init_args", "lr"], "seed_everything": ["seed_everything"]}
    base = {"model": {"class_path": "other.Model", "init_args": {"width": 3}}}
    assert space.as_overlay({"model.lr": 0.5, "seed_everything": 1}, paths, base) == {
        "model": {"class_path": "other.Model", "init_args": {"width": 3, "lr": 0.5}},
        "seed_everything": 1,
    }


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ({"space": {}}, "names no hyperparameter"),
        ({"space": {"a": {"low": 1, "high": 0.1}}}, "a: low 1 must be below high 0.1"),
        ({"space": {"a": {"low": 0, "high": 1, "log": True}}}, "a: low 0 must be above 0 with log: true"),
        ({"space": {"a": {"low": 0, "high": 4, "step": 0.5}}}, "a: step 0.5 must be a whole number"),
        ({"space": {"a": {"low": 0, "hihg": 4}}}, "a: hihg: unknown; there are low, high, log, step"),
        ({"space": {"a": {"low": 0}}}, "a: needs low and high, or choices"),
        ({"space": {"a": {"low": "x", "high": 1}}}, "a: low: x: must be a number"),
        ({"space": {"a": {"choices": 3}}}, r"a: choices: must be a list such as \[32, 64\]"),
        ({"space": {"a": [1, 2]}}, "a: needs low and high, or choices"),
        ({"space": {"a": {"choices": [1]}}, "pruner": "best"}, "pruner: best: must be one of median, hyperband, none"),
        ({"space": {"a": {"choices": [1]}}, "trials": -1}, "trials: -1: must be a whole number of 0 or more"),
        ({"space": {"a": {"choices": [1]}}, "trails": 3}, "trails: unknown; there are trials"),
    ],
)
def test_mistakes_in_the_file_are_named(content: dict[str, Any], wrong: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=wrong):
        space.read_search(_written(tmp_path, **content))


def test_file_of_this_project_can_be_read() -> None:
    assert space.read_search(ROOT / "configs/sweep.yaml").trials > 0


def test_jobs_share_the_gpus_and_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)

    def visible(jobs: int, gpus: int) -> list[str]:
        return [share_devices(slot, jobs, gpus)["CUDA_VISIBLE_DEVICES"] for slot in range(jobs)]

    assert visible(jobs=2, gpus=2) == ["0", "1"]
    assert visible(jobs=2, gpus=4) == ["0,1", "2,3"]
    assert visible(jobs=3, gpus=2) == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert visible(jobs=2, gpus=2) == ["4", "7"]
    assert share_devices(0, jobs=2, gpus=0) == {"OMP_NUM_THREADS": "4"}
    assert share_devices(0, jobs=1, gpus=2) == {}


def test_missing_package_is_named_with_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="error: optuna not installed: python -m pip install --group sweep"):
        main([])


@pytest.mark.slow
def test_search_ends_with_an_overlay_of_the_best_parameters(workdir: Path) -> None:
    pytest.importorskip("optuna", reason="needs the dependency group `sweep`")
    command = [sys.executable, "-m", "{{ cookiecutter.project_slug }}.sweep"]
    command += ["--trials", "2", "--config", "configs/smoke.yaml", *SHORT]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == str(Path("runs/sweep"))
    facts = json.loads((workdir / "runs/sweep/sweep.json").read_text())
    assert facts["trials"]["finished"] == 2
    assert set(facts["best"]) == {"trial", "value", *facts["space"]}
    overlay = yaml.safe_load((workdir / "runs/sweep/best.yaml").read_text())
    assert overlay["model"]["init_args"]["lr"] == facts["best"]["model.lr"]
    assert (workdir / "runs/sweep/trial-001/checkpoints/best.ckpt").exists()
    assert not list(workdir.glob("runs/trial-*"))  # nor has a logger written beside the sweep's folder
