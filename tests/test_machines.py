"""Generation on real machines: each is set up, and the whole command runs on it."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import DEFAULT, REPO, VERIFIED, files, generate, is_complete, machine, template_with

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sets machines up with POSIX tools")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux mounts and network namespaces")


def site_packages(folder: Path) -> Path:
    [found] = (folder / "machine").glob("lib/python3*/site-packages")
    return found


def old_torch(folder: Path) -> None:
    info = site_packages(folder) / "torch-2.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.1.0\n")


def broken_torch(folder: Path) -> None:
    (site_packages(folder) / "torch").unlink()
    (site_packages(folder) / "torch.py").write_text("raise OSError('libtorch_cpu.so: cannot open shared object file')")


@pytest.mark.parametrize(
    ("without", "prepare", "lacks"),
    [
        (["torch"], None, "torch>=2.10\n"),
        (["torch", "packaging"], None, "torch>=2.10\n"),
        (["torch"], old_torch, "torch>=2.10 (it has 2.1.0)\n"),
        (["lightning"], None, "lightning>=2.6.6,<2.7\n"),
        ([], broken_torch, "a torch that can be imported (libtorch_cpu.so: cannot open"),
    ],
    ids=["no torch", "neither torch nor packaging", "old torch", "no lightning", "broken torch"],
)
def test_what_a_python_lacks_is_named_and_uv_makes_an_environment_that_trains(
    tmp_path: Path, without: list[str], prepare: Callable[[Path], None] | None, lacks: str
) -> None:
    python, environment = machine(tmp_path / "machine", *without, uv=True)
    if prepare:
        prepare(tmp_path)
    result = generate(tmp_path / "here", "project_slug=seed", python=python, **environment)
    assert result.returncode == 0, result.stdout
    assert f"  {python} lacks {lacks}" in result.stdout
    assert "uv pip install --python .venv/bin/python --editable . --group dev\n" in result.stdout
    assert VERIFIED.search(result.stdout), result.stdout
    assert (tmp_path / "here/seed/.git/hooks/pre-commit").exists()


@linux
@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_without_network_and_torch_the_project_is_kept(tmp_path: Path, installer: str) -> None:
    python, environment = machine(tmp_path / "machine", "torch", uv=installer == "uv")
    environment |= {"UV_OFFLINE": "1"} if installer == "uv" else {"PIP_RETRIES": "0"}  # no retries
    environment |= {"UV_NO_CACHE": "1", "PIP_CONSTRAINT": None, "PIP_FIND_LINKS": None, "UV_FIND_LINKS": None}
    offline = ("unshare", "--map-root-user", "--net")
    result = generate(tmp_path / "here", "project_slug=seed", python=python, within=offline, **environment)
    assert result.returncode == 0, result.stdout
    assert "NOT VERIFIED: that command ended with status" in result.stdout
    assert "  python -m seed.train fit --config configs/smoke.yaml" in result.stdout.split("Next:")[1]
    assert is_complete(tmp_path / "here/seed")
    assert not (tmp_path / "here/seed/.git").exists()  # only a project that trains is committed


@linux
def test_a_full_disk_while_installing_keeps_the_project(tmp_path: Path) -> None:
    python, environment = machine(tmp_path / "machine", "torch", uv=True)
    disk = tmp_path / "disk"
    disk.mkdir()
    # The disk vanishes with the process that mounted it, so that process copies what is left.
    script = f'mount -t tmpfs -o size=40m none "{disk}" && "$@"; echo "status $?"; cp -a "{disk}" "{tmp_path}/left"'
    small = ("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh")
    result = generate(disk, "project_slug=seed", python=python, within=small, **environment)
    assert "No space left on device" in result.stdout, result.stdout
    assert "NOT VERIFIED: that command ended with status" in result.stdout
    assert "status 0\n" in result.stdout
    assert is_complete(tmp_path / "left/seed")


@linux
def test_a_read_only_output_folder_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    script = f'mount -t tmpfs -o ro none "{folder}" && "$@"'
    read_only = ("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh")
    result = generate(folder, "project_slug=seed", within=read_only)
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == f"OSError: Unable to create directory at {folder}/seed"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_it_trains_on_a_console_without_utf_8(tmp_path: Path, encoding: str) -> None:
    author = "数 Ĺ 🎉 שלום"
    result = generate(tmp_path, "project_slug=seed", f"author_name={author}", PYTHONIOENCODING=encoding)
    assert result.returncode == 0, result.stdout
    assert VERIFIED.search(result.stdout), result.stdout
    assert author in (tmp_path / "seed/LICENSE").read_text(encoding="utf-8")
    refused = generate(tmp_path, "project_slug=数", PYTHONIOENCODING=encoding)
    assert r"lit-template: project_slug '\u6570' must begin with a letter" in refused.stdout


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "1", "RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "elsewhere"},
        {"HOME": None, "XDG_CONFIG_HOME": None, "XDG_CACHE_HOME": None},
    ],
    ids=["inside a Slurm job", "without HOME"],
)
def test_it_trains_in_unusual_environments(tmp_path: Path, environment: dict[str, str | None]) -> None:
    result = generate(tmp_path, "project_slug=seed", **{"CUDA_VISIBLE_DEVICES": ""} | environment)
    assert result.returncode == 0, result.stdout
    assert VERIFIED.search(result.stdout), result.stdout


def test_stray_modules_in_the_temporary_and_current_folder_are_ignored(tmp_path: Path) -> None:
    for name in ("json", "signal", "torch", "lightning"):
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('the wrong {name}')")
    result = generate(tmp_path / "here", "project_slug=seed", cwd=tmp_path, TMPDIR=str(tmp_path))
    assert result.returncode == 0, result.stdout
    assert VERIFIED.search(result.stdout), result.stdout


def test_it_trains_under_a_path_with_spaces_unicode_and_200_characters(tmp_path: Path) -> None:
    name = "mein Größe 数 🎉 "
    folder = tmp_path / (name + "x" * (200 - len(name.encode())))
    result = generate(folder, "project_slug=seed")
    assert result.returncode == 0, result.stdout
    assert VERIFIED.search(result.stdout), result.stdout
    assert files(folder / "seed") == DEFAULT


def test_two_generations_can_run_at_the_same_time(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "cookiecutter", "--no-input", "--default-config", "-o", tmp_path, REPO]
    both = [
        subprocess.Popen([*command, f"project_slug={slug}"], stdout=subprocess.PIPE, text=True)
        for slug in ("seed", "sprout")
    ]
    for process in both:
        said, _ = process.communicate()
        assert process.returncode == 0, said
        assert VERIFIED.search(said), said
    assert {path.name for path in tmp_path.iterdir()} == {"seed", "sprout"}


@pytest.mark.parametrize("from_file", [False, True])
def test_a_replay_renders_the_same(tmp_path: Path, from_file: bool) -> None:
    home = {"HOME": str(tmp_path / "home"), "LIT_TEMPLATE_VERIFY": "skip"}
    answers = ["project_slug=seed", "task=classification", 'author_name=Ada "数" \\ 🎉']
    assert generate(tmp_path / "a", *answers, **home).returncode == 0
    [answered] = (tmp_path / "home/.cookiecutter_replay").iterdir()
    again = ["--replay-file", str(answered)] if from_file else ["--replay"]
    result = generate(tmp_path / "b", *again, **home)
    assert result.returncode == 0, result.stdout
    a, b = (
        {path: (tmp_path / name / "seed" / path).read_bytes() for path in files(tmp_path / name / "seed")}
        for name in "ab"
    )
    assert a == b


@pytest.mark.parametrize("trains", [True, False])
def test_overwriting_a_project_leaves_what_its_user_added(tmp_path: Path, trains: bool) -> None:
    assert generate(tmp_path / "here", "project_slug=seed", "verify=skip").returncode == 0
    project = tmp_path / "here/seed"
    added = {"notes.md": "mine", "src/seed/second.py": "x = 1\n", "runs/first/config.yaml": "a: 1\n", ".env": "secret"}
    for path, text in added.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    (project / "README.md").write_text("edited")
    change = "y_hat = self(x)", 'raise RuntimeError("broken on purpose")', "templates/task/regression/module.py"
    template = REPO if trains else template_with(tmp_path, *change)
    result = generate(tmp_path / "here", "--overwrite-if-exists", "project_slug=seed", template=template)
    assert (result.returncode == 0) == trains, result.stdout
    assert {path: (project / path).read_text() for path in added} == added
    assert files(project) == DEFAULT | added.keys()
    assert (project / "README.md").read_text() != "edited"  # the template's files are rewritten


def test_without_hooks_the_project_is_complete_and_trains(tmp_path: Path) -> None:
    result = generate(tmp_path, "--accept-hooks", "no", "project_slug=My-Seed")
    assert (result.returncode, result.stdout) == (0, "")
    project = tmp_path / "my_seed"  # no hook refuses the name, so the safe one is used
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    command = [sys.executable, "-m", "my_seed.train", "fit", "--config", "configs/smoke.yaml"]
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)


def test_a_smoke_run_over_its_time_limit_keeps_the_project(tmp_path: Path) -> None:
    result = generate(tmp_path, "project_slug=seed", LIT_TEMPLATE_TIMEOUT="1.5")
    assert result.returncode == 0, result.stdout
    assert "NOT VERIFIED: the smoke run took longer than 1.5 s (LIT_TEMPLATE_TIMEOUT)" in result.stdout
    assert is_complete(tmp_path / "seed")
    required = generate(tmp_path, "project_slug=other", LIT_TEMPLATE_TIMEOUT="1.5", LIT_TEMPLATE_VERIFY="require")
    assert required.returncode == 1
    assert not (tmp_path / "other").exists()


def test_a_diverging_loss_fails_generation_and_leaves_nothing(tmp_path: Path) -> None:
    template = template_with(tmp_path, "lr: 0.01", "lr: 1.0e+30", "templates/task/regression/train.yaml")
    result = generate(tmp_path / "here", "project_slug=seed", template=template)
    assert result.returncode == 1
    assert re.search(r"error: step \d+: the training loss is (nan|inf)", result.stdout), result.stdout
    assert "FAILED: the project does not train" in result.stdout
    assert list((tmp_path / "here").iterdir()) == []
