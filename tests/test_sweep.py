"""`sweep`: trials as processes of `fit`, whatever happens to them; seeds and folds with mean and spread.

Where only the scheduling matters, `stand_in/` takes the place of `fit`: the same files in a fraction of a second.
"""

import csv
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from conftest import CHOICES, REPO, render_into

TESTS = REPO / "tests"
QUICK = [
    *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--trainer.logger", "false"),
    *("--trainer.limit_train_batches", "4", "--trainer.limit_val_batches", "2", "--trainer.limit_test_batches", "2"),
]
OWN = ["--config", "configs/own.yaml"]
OWN_SPACE = {
    "model.lr": {"low": 0.001, "high": 0.1, "log": True},
    "model.width": {"low": 2, "high": 32, "log": True},
    "data.batch_size": {"choices": [8, 16]},
}
CRASH = """
        from pathlib import Path
        if Path("runs/sweep/trial-001").exists() and not Path("crashed").exists():
            Path("crashed").touch()
            raise RuntimeError("broken on purpose")
"""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every task, rendered once."""
    folder = tmp_path_factory.mktemp("rendered")
    for task in CHOICES["task"]:
        render_into(folder / task, task=task, project_slug="seed", logger="csv")
    return folder


@pytest.fixture
def project(rendered: Path, tmp_path: Path) -> Path:
    """A copy of the regression project."""
    return shutil.copytree(rendered / "regression" / "seed", tmp_path / "project")


class AnyProject(NamedTuple):
    """A project of any task, or one with a model and data from scratch.

    Attributes:
        folder: Its folder.
        model: The file of its model.
        options: Options of `fit` for a few steps of it.
    """

    folder: Path
    model: Path
    options: list[str]


@pytest.fixture
def any_project(request: pytest.FixtureRequest, rendered: Path, tmp_path: Path) -> AnyProject:
    """A copy of a task's project, or a project with a model and data from scratch."""
    if request.param == "from_scratch":
        project = shutil.copytree(rendered / "regression" / "seed", tmp_path / "project")
        _add_own(project)
        _search(project, OWN_SPACE, pruner="median")
        return AnyProject(project, project / "src/seed/own_model.py", [*OWN, *QUICK])
    project = shutil.copytree(rendered / request.param / "seed", tmp_path / "project")
    small = ["--config", "configs/smoke.yaml", "--trainer.val_check_interval", "1.0"]
    options = [*small, *QUICK] if request.param == "language_model" else QUICK
    return AnyProject(project, project / "src/seed/module.py", options)


@pytest.fixture
def quick(project: Path) -> Path:
    """A project whose `fit` is the stand-in, with a search over its learning rate."""
    shutil.copy(TESTS / "stand_in/train.py", project / "src/seed/train.py")
    shutil.copy(TESTS / "stand_in/dry_run.py", project / "src/seed/sweep/dry_run.py")
    _search(project, {"model.lr": {"low": 0.0001, "high": 0.1, "log": True}}, fit="--seconds 0.2")
    return project


def _add_own(project: Path) -> None:
    """Add a model and data from scratch, and the overlay that names them."""
    for name in ("model", "data"):
        shutil.copy(TESTS / f"first_hour/regression_{name}.py", project / f"src/seed/own_{name}.py")
    own = {"model": {"class_path": "seed.own_model.OwnModel"}, "data": {"class_path": "seed.own_data.OwnData"}}
    (project / "configs/own.yaml").write_text(yaml.safe_dump(own))


def _search(project: Path, space: dict[str, Any], **settings: Any) -> None:
    (project / "configs/sweep.yaml").write_text(yaml.safe_dump({"space": space, **settings}))


def _start(project: Path, *args: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(project / "src"), "COLUMNS": "120"}
    return subprocess.Popen(
        [sys.executable, "-m", "seed.sweep", *args],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _sweep(project: Path, *args: str, status: int = 0) -> list[str]:
    """Run a sweep to its end, and return the lines that it prints."""
    process = _start(project, *args)
    out, err = process.communicate()
    assert (process.returncode, "Warning" in err) == (status, False), out + err
    return (out if status == 0 else out + err).splitlines()


def _train(project: Path, *args: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    command = [sys.executable, "-m", "seed.train", *args]
    result = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def _facts(project: Path, name: str = "sweep") -> dict[str, Any]:
    return json.loads((project / "runs" / name / "sweep.json").read_text())


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _best(folder: Path, metric: str = "val_loss") -> float:
    """The best value after the start, where best.ckpt is from."""
    return min(float(row[metric]) for row in _rows(folder / "metrics.csv") if row[metric] and int(row["step"]))


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 300
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.05)


def _children(project: Path) -> list[int]:
    """List the processes that run in a project's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == project.resolve() and (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.parametrize("any_project", ["regression", "language_model", "from_scratch"], indirect=True)
def test_killed_search_finishes_with_exactly_its_trials(any_project: AnyProject) -> None:
    """Kill a search of 8 trials after 3, of which one crashes; finish it, and train with the best parameters."""
    project, model, options = any_project
    model.write_text(model.read_text().replace("super().__init__()\n", f"super().__init__(){CRASH}", 1))
    asked = ["--trials", "8", *options]
    killed = _start(project, *asked)
    _wait_for(project / "runs/sweep/trial-003/run.json")
    _kill(killed)
    lines = _sweep(project, *asked)
    assert lines[-1] == "runs/sweep"

    facts, rows = _facts(project), _rows(project / "runs/sweep/trials.csv")
    states = Counter(row["status"] for row in rows)
    assert states["finished"] + states["pruned"] == 7
    assert states["failed"] == 1
    assert facts["trials"]["asked"] == len(rows) == 8
    assert facts["trials"]["interrupted"] == 1
    [failed] = [row for row in rows if row["status"] == "failed"]
    assert (failed["trial"], failed["reason"]) == ("trial-001", "RuntimeError: broken on purpose")
    assert any("broken on purpose" in line and "trial-001" in line for line in lines)  # in the table
    for row in rows:
        folder = project / "runs/sweep" / row["trial"]
        log = (
            folder / "output.log" if folder.exists() else folder.with_suffix(".log")
        )  # it failed before its first file
        assert log.stat().st_size > 0
        if row["status"] == "finished":
            assert float(row["val_loss"]) == _best(folder)
    assert not _children(project)

    best = min((row for row in rows if row["status"] == "finished"), key=lambda row: float(row["val_loss"]))
    assert facts["best"]["trial"] == best["trial"]
    _train(project, "fit", "--name", "again", "--config", "runs/sweep/best.yaml")
    assert _best(project / "runs/again") == float(best["val_loss"]) == facts["best"]["value"]
    for name in ("history", "parallel", "importances"):
        assert (project / f"runs/sweep/{name}.png").read_bytes().startswith(b"\x89PNG")
    assert facts["method"] == {"sampler": "TPESampler", "pruner": "MedianPruner", "seed": 0}
    space = yaml.safe_load((project / "configs/sweep.yaml").read_text())["space"]
    assert rows[0].keys() >= space.keys()
    assert facts["space"].keys() == space.keys()
    for name, bounds in space.items():
        assert facts["space"][name].items() >= bounds.items()


def test_trial_of_a_model_and_data_from_scratch_has_its_defaults_and_can_be_tested(project: Path) -> None:
    _add_own(project)
    _search(project, OWN_SPACE, fit=" ".join(OWN), trials=1)
    lines = _sweep(project, *QUICK)
    assert "trials: 1 finished" in lines
    [trial] = _rows(project / "runs/sweep/trials.csv")
    assert (trial["model.width"], trial["data.batch_size"]) == ("16", "8")
    assert _facts(project)["best"].keys() >= OWN_SPACE.keys()

    _train(project, "test", "--ckpt_path", "runs/sweep/trial-000/checkpoints/best.ckpt", "--trainer.logger", "false")
    assert (project / "runs/sweep/trial-000/metrics-test.csv").exists()
    assert [path.name for path in (project / "runs").iterdir()] == ["sweep"]

    [wrong] = _sweep(project, "--folds", "3", *OWN, status=1)
    assert wrong == (
        "error: --folds: seed.own_data.OwnData takes no `folds` and `fold`; give it both, or repeat with --seeds"
    )


@pytest.mark.parametrize("any_project", ["classification", "image_classification", "from_scratch"], indirect=True)
def test_five_seeds_have_a_mean_and_a_spread(any_project: AnyProject) -> None:
    project, _, options = any_project
    lines = _sweep(project, "--seeds", "0", "1", "2", "3", "4", "--jobs", "2", *options)
    assert lines[-1] == "runs/seeds"
    rows = {row["metric"]: row for row in _rows(project / "runs/seeds/scores.csv")}
    assert {"val_loss", "test_loss"} <= rows.keys()
    for metric, row in rows.items():
        values = [float(row[f"seed-{seed}"]) for seed in range(5)]
        assert float(row["mean"]) == pytest.approx(statistics.mean(values))
        assert float(row["std"]) == pytest.approx(statistics.stdev(values))
        assert row["n"] == "5"
        [printed] = [line.split() for line in lines if line.split()[:1] == [metric]]
        assert [float(cell) for cell in printed[1:3]] == pytest.approx(
            [float(row["mean"]), float(row["std"])], rel=1e-4
        )
    data = []
    for seed in range(5):
        folder = project / f"runs/seeds/seed-{seed}"
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert config["seed_everything"] == seed
        data.append(config["data"])
        assert float(rows["val_loss"][f"seed-{seed}"]) == _best(folder)
        [tested] = _rows(folder / "metrics-test.csv")
        assert rows["test_loss"][f"seed-{seed}"] == tested["test_loss"]
    assert data == [data[0]] * 5  # also its split
    assert len({rows["val_loss"][f"seed-{seed}"] for seed in range(5)}) == 5


def test_every_row_is_in_one_fold_and_every_class_in_each(rendered: Path, tmp_path: Path) -> None:
    project = shutil.copytree(rendered / "classification" / "seed", tmp_path / "project")
    _sweep(project, "--folds", "2", *QUICK)
    assert {row["n"] for row in _rows(project / "runs/folds/scores.csv")} == {"2"}
    first, second = (json.loads((project / f"runs/folds/fold-{fold}/run.json").read_text())["data"] for fold in (0, 1))
    assert [first["rows"][split] for split in ("train", "val")] == [second["rows"][split] for split in ("val", "train")]
    by_class = zip(*(described["train_rows_by_class"].values() for described in (first, second)), strict=True)
    assert all(abs(one - other) <= 1 for one, other in by_class)
    before = (project / "runs/folds/fold-0/metrics.csv").stat().st_mtime_ns
    assert _sweep(project, "--folds", "2", *QUICK)[-1] == "runs/folds"  # all there already
    assert (project / "runs/folds/fold-0/metrics.csv").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("space", "args", "wrong"),
    [
        ({"model.lrr": {"low": 0.1, "high": 1}}, [], "model.lrr: `fit` has no such option; did you mean model.lr?"),
        ({"model.lr": {"low": 0.1, "high": 1}}, ["--metric", "val_auc", "--mode", "max"], "val_auc: no such metric"),
    ],
)
def test_mistakes_are_named_before_the_first_trial(
    space: dict[str, Any], args: list[str], wrong: str, project: Path
) -> None:
    _search(project, space)
    [line] = _sweep(project, *QUICK, *args, status=1)
    assert line.startswith("error: ")
    assert wrong in line
    assert not list(project.glob("runs/*"))


def test_trial_that_falls_behind_is_pruned(quick: Path) -> None:
    # The seed draws 0.5 after the five trials that the pruner waits for.
    _search(quick, {"model.lr": {"choices": [0.01, 0.02, 0.03, 0.5]}}, fit="--seconds 1", seed=2, pruner="median")
    lines = _sweep(quick, "--trials", "7")
    rows = _rows(quick / "runs/sweep/trials.csv")
    pruned = [row for row in rows if row["status"] == "pruned"]
    assert [(row["trial"], row["model.lr"]) for row in pruned] == [("trial-005", "0.5"), ("trial-006", "0.5")]
    assert "trials: 5 finished, 2 pruned" in lines
    for row in pruned:  # stopped before its last epoch
        assert len(_rows(quick / f"runs/sweep/{row['trial']}/metrics.csv")) < 11


def test_machines_share_a_study_and_its_trials(quick: Path) -> None:
    storage = ["--storage", "sqlite:///study.db"]
    for options in ([], ["--name", "other", *storage]):
        processes = [_start(quick, "--trials", "9", "--jobs", "2", *options) for _ in range(2)]
        outputs = [process.communicate() for process in processes]
        assert [process.returncode for process in processes] == [0, 0], outputs
        name = options[1] if options else "sweep"
        _sweep(quick, "--trials", "9", *options)
        assert _facts(quick, name)["trials"]["finished"] == 9
        assert len(list((quick / "runs" / name).glob("trial-*"))) == 9
    assert (quick / "study.db").exists()


def test_search_killed_while_it_takes_a_trial_runs_that_trial(quick: Path) -> None:
    command = """
import os
from optuna.trial import Trial
from seed.sweep.__main__ import main
Trial.set_user_attr = lambda *args: os._exit(9)
main(["--trials", "2"])
"""
    environment = os.environ | {"PYTHONPATH": str(quick / "src")}
    assert subprocess.run([sys.executable, "-c", command], cwd=quick, env=environment, check=False).returncode == 9
    _sweep(quick, "--trials", "2")
    rows = _rows(quick / "runs/sweep/trials.csv")
    assert [row["status"] for row in rows] == ["finished"] * 2
    assert "0.01" in {row["model.lr"] for row in rows}  # the defaults, which it had taken


def test_trials_of_a_machine_that_is_gone_are_run_by_another(quick: Path) -> None:
    for name in ("alive", "gone"):
        one = _machine(quick, "one", "--name", name)
        _wait_for(quick / f"runs/{name}/trial-000/metrics.csv")
        other = _machine(quick, "other", "--name", name)
        _wait_for(quick / f"runs/{name}/trial-001/metrics.csv")
        if name == "gone":
            _kill(one)
        out, err = other.communicate()
        assert other.returncode == 0, out + err
        one.communicate()
        trials = _facts(quick, name)["trials"]
        assert (trials["finished"], trials["interrupted"]) == (2, 1 if name == "gone" else 0)


def _machine(project: Path, name: str, *args: str) -> subprocess.Popen[str]:
    """Start a sweep of two long trials as on a machine of this name, which counts as gone after 2 s of silence."""
    command = f"""
import platform
from seed.sweep import study
from seed.sweep.__main__ import main
platform.node = lambda: {name!r}
study.BEAT, study.SILENCE = 0.2, 2.0
main(["--trials", "2", "--seconds", "4", *{args!r}])
"""
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    return subprocess.Popen(
        [sys.executable, "-c", command],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_search_killed_again_and_again_has_exactly_its_trials(quick: Path) -> None:
    chance = random.Random(0)
    for _ in range(4):
        process = _start(quick, "--trials", "10", "--jobs", "3")
        time.sleep(chance.uniform(1, 2.5))
        _kill(process)
    _sweep(quick, "--trials", "10", "--jobs", "3")
    rows = _rows(quick / "runs/sweep/trials.csv")
    assert [row["status"] for row in rows] == ["finished"] * 10
    assert _sweep(quick, "--trials", "10")[-1] == "runs/sweep"  # nothing is left to do
    assert len(_rows(quick / "runs/sweep/trials.csv")) == 10
    started = [line.split() for line in (quick / "lrs.txt").read_text().splitlines()]
    lost = [lr for name, lr in started if name not in {row["trial"] for row in rows}]
    assert set(lost) <= {row["model.lr"] for row in rows}  # what was interrupted has been run again
    assert not _children(quick)


def test_ctrl_c_leaves_no_child(project: Path) -> None:
    signum = signal.SIGINT
    process = _start(project, "--trials", "2", *QUICK, "--trainer.max_epochs", "-1")
    _wait_for(project / "runs/sweep/trial-000/metrics.csv")
    process.send_signal(signum)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signum, err
    assert "trial-000: interrupted; the same command runs it again" in out
    assert "Traceback" not in err
    assert not _children(project)
    assert _facts(project)["trials"]["interrupted"] == 1


def test_sigterm_leaves_no_child(quick: Path) -> None:
    process = _start(quick, "--trials", "2", "--jobs", "2", "--seconds", "60")
    _wait_for(quick / "runs/sweep/trial-001/metrics.csv")
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "")
    assert not _children(quick)
    assert _facts(quick)["trials"]["interrupted"] == 2


def test_child_of_a_killed_search_is_ended_by_the_next(quick: Path) -> None:
    process = _start(quick, "--trials", "1", "--seconds", "60")
    _wait_for(quick / "runs/sweep/trial-000/metrics.csv")
    _kill(process)
    assert _children(quick)
    _sweep(quick, "--trials", "0", "--seconds", "60")
    assert not _children(quick)


def test_space_that_has_changed_is_refused(quick: Path) -> None:
    _sweep(quick, "--trials", "1")
    _search(quick, {"model.lr": {"low": 0.001, "high": 0.1}}, fit="--seconds 0.2")
    [line] = _sweep(quick, "--trials", "2", status=1)
    assert line == ("error: runs/sweep was begun with another space; choose another --name, or remove it")


def test_trials_are_runs_like_any_other(quick: Path) -> None:
    _sweep(quick, "--trials", "2")
    environment = os.environ | {"PYTHONPATH": str(quick / "src")}
    for args, names in ((["--root", "runs/sweep"], ["trial-000", "trial-001"]), ([], [])):
        command = [sys.executable, "-m", "seed.compare", *args]
        printed = subprocess.run(command, cwd=quick, env=environment, capture_output=True, text=True, check=False)
        assert all(name in printed.stdout for name in names)
        assert printed.returncode == (0 if names else 1)  # the sweep itself is none
