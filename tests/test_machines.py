"""Machines as they are: each is set up for real, and the whole command is run on it."""

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ALWAYS, REPO, SOMETIMES, VERIFIED, files, generate, generation

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sets machines up with POSIX's tools")
linux = pytest.mark.skipif(sys.platform != "linux", reason="mounts and networks of its own are Linux's")

DEFAULT = ALWAYS | SOMETIMES["ci", "github"] | SOMETIMES["task", "regression"]


def whole(project: Path) -> bool:
    """Tell whether a default project `seed` has all its files, and no environment."""
    return files(project) == DEFAULT and not (project / ".venv").exists()


def machine(folder: Path, *without: str, uv: bool = False) -> tuple[Path, dict[str, str | None]]:
    """Make a Python that has what ours has, by links, but for some packages.

    Returns:
        The Python, and the environment variables under which it is the only one around that has cookiecutter.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    [own] = folder.glob("lib/python3*/site-packages")
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not re.match(rf"({'|'.join(without)})(-[\d.+a-z]+\.dist-info)?$" if without else "$", path.name):
            (own / path.name).symlink_to(path)
    if uv:
        (folder / "bin/uv").symlink_to(Path(sys.executable).with_name("uv"))
    path = os.pathsep.join([str(folder / "bin"), "/usr/local/bin", "/usr/bin", "/bin"])
    return folder / "bin/python", {"PATH": path, "VIRTUAL_ENV": None, "CONDA_PREFIX": None}


def with_uv(folder: Path, *without: str) -> tuple[Path, dict[str, str | None]]:
    """Make such a machine where uv is installed, and leave the compiling of byte code to the tests that need it."""
    python, environment = machine(folder, *without, uv=True)
    return python, environment | {"UV_COMPILE_BYTECODE": "0"}


def broken(folder: Path, change: str, to: str, path: str) -> Path:
    """Copy the template with one change."""
    template = folder / "template"
    shutil.copytree(REPO, template, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__"))
    text = (template / path).read_text()
    assert change in text
    (template / path).write_text(text.replace(change, to))
    return template


def test_torch_absent_with_uv(tmp_path: Path) -> None:
    python, environment = machine(tmp_path / "machine", "torch", uv=True)
    result = generate(tmp_path / "here", "project_slug=seed", python=python, **environment)
    assert result.returncode == 0, result.stdout
    assert f"  {python} lacks torch>=2.10\n" in result.stdout
    assert "uv pip install --python .venv/bin/python --editable . --group dev\n" in result.stdout
    assert VERIFIED.search(result.stdout), result.stdout
    assert (tmp_path / "here/seed/.git/hooks/pre-commit").exists()


def test_torch_older_than_required(tmp_path: Path) -> None:
    python, environment = with_uv(tmp_path / "machine", "torch")
    [own] = (tmp_path / "machine").glob("lib/python3*/site-packages")
    (own / "torch-2.1.0.dist-info").mkdir()
    (own / "torch-2.1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.1.0\n")
    result = generate(tmp_path / "here", "project_slug=seed", python=python, **environment)
    assert result.returncode == 0, result.stdout
    assert f"  {python} lacks torch>=2.10 (it has 2.1.0)\n" in result.stdout
    assert VERIFIED.search(result.stdout), result.stdout


def test_lightning_absent(tmp_path: Path) -> None:
    python, environment = with_uv(tmp_path / "machine", "lightning")
    result = generate(tmp_path / "here", "project_slug=seed", python=python, **environment)
    assert result.returncode == 0, result.stdout
    assert f"  {python} lacks lightning>=2.6.6\n" in result.stdout
    assert VERIFIED.search(result.stdout), result.stdout


def test_a_broken_torch(tmp_path: Path) -> None:
    python, environment = with_uv(tmp_path / "machine")
    [own] = (tmp_path / "machine").glob("lib/python3*/site-packages")
    (own / "torch").unlink()
    (own / "torch.py").write_text("raise OSError('libtorch_cpu.so: cannot open shared object file')")
    result = generate(tmp_path / "here", "project_slug=seed", python=python, **environment)
    assert result.returncode == 0, result.stdout
    assert f"  {python} lacks a torch that can be imported (libtorch_cpu.so: cannot open" in result.stdout
    assert VERIFIED.search(result.stdout), result.stdout


@linux
@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_no_network_and_no_torch(tmp_path: Path, installer: str) -> None:
    python, environment = machine(tmp_path / "machine", "torch", uv=installer == "uv")
    environment |= {"UV_OFFLINE": "1"} if installer == "uv" else {"PIP_RETRIES": "0"}  # or they try for minutes
    environment |= {"UV_NO_CACHE": "1", "PIP_CONSTRAINT": None, "PIP_FIND_LINKS": None, "UV_FIND_LINKS": None}
    offline = ("unshare", "--map-root-user", "--net")
    result = generate(tmp_path / "here", "project_slug=seed", python=python, within=offline, **environment)
    assert result.returncode == 0, result.stdout
    assert "NOT VERIFIED: that command ended with status" in result.stdout
    assert "  python -m seed.train fit --config configs/smoke.yaml" in result.stdout.split("Next:")[1]
    assert whole(tmp_path / "here/seed")
    assert not (tmp_path / "here/seed/.git").exists()  # the first commit is that of a project that trains


@linux
def test_the_disk_is_full_while_installing(tmp_path: Path) -> None:
    python, environment = with_uv(tmp_path / "machine", "torch")
    disk = tmp_path / "disk"
    disk.mkdir()
    # The disk is gone with the process that mounted it, so it says itself what is left.
    script = f'mount -t tmpfs -o size=40m none "{disk}" && "$@"; echo "status $?"; cp -a "{disk}" "{tmp_path}/left"'
    small = ("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh")
    result = generate(disk, "project_slug=seed", python=python, within=small, **environment)
    assert "No space left on device" in result.stdout, result.stdout
    assert "NOT VERIFIED: that command ended with status" in result.stdout
    assert "status 0\n" in result.stdout
    assert whole(tmp_path / "left/seed")


@linux
def test_the_output_folder_is_read_only(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    script = f'mount -t tmpfs -o ro none "{folder}" && "$@"'
    sealed = ("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh")
    result = generate(folder, "project_slug=seed", within=sealed)
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == f"OSError: Unable to create directory at {folder}/seed"  # cookiecutter's


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_console_that_is_not_utf_8(tmp_path: Path, encoding: str) -> None:
    author = "数 Ĺ 🎉 שלום"
    result = generate(tmp_path, "project_slug=seed", f"author_name={author}", PYTHONIOENCODING=encoding)
    assert result.returncode == 0, result.stdout
    assert VERIFIED.search(result.stdout), result.stdout
    assert author in (tmp_path / "seed/LICENSE").read_text(encoding="utf-8")
    refused = generate(tmp_path, "project_slug=数", PYTHONIOENCODING=encoding)
    assert r"lit-template: project_slug '\u6570' must begin with a letter" in refused.stdout


def test_without_a_terminal_inside_a_job_of_a_scheduler(tmp_path: Path) -> None:
    job = {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "1", "RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "elsewhere"}
    result = generate(tmp_path, "project_slug=seed", CUDA_VISIBLE_DEVICES="", **job)
    assert result.returncode == 0, result.stdout
    assert VERIFIED.search(result.stdout), result.stdout


def test_a_stray_module_in_the_temporary_and_the_current_folder(tmp_path: Path) -> None:
    for name in ("json", "signal", "torch", "lightning"):
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('the wrong {name}')")
    result = generate(tmp_path / "here", "project_slug=seed", cwd=tmp_path, TMPDIR=str(tmp_path))
    assert result.returncode == 0, result.stdout
    assert VERIFIED.search(result.stdout), result.stdout


def test_no_home(tmp_path: Path) -> None:
    result = generate(tmp_path, "project_slug=seed", HOME=None, XDG_CONFIG_HOME=None, XDG_CACHE_HOME=None)
    assert result.returncode == 0, result.stdout
    assert VERIFIED.search(result.stdout), result.stdout


def test_a_path_with_blanks_unicode_and_200_characters(tmp_path: Path) -> None:
    name = "mein Größe 数 🎉 "
    folder = tmp_path / (name + "x" * (200 - len(name.encode())))
    result = generate(folder, "project_slug=seed")
    assert result.returncode == 0, result.stdout
    assert VERIFIED.search(result.stdout), result.stdout
    assert files(folder / "seed") == DEFAULT


def test_two_generations_at_the_same_time(tmp_path: Path) -> None:
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
    template = REPO if trains else broken(tmp_path, *change)
    result = generate(tmp_path / "here", "--overwrite-if-exists", "project_slug=seed", template=template)
    assert (result.returncode == 0) == trains, result.stdout
    assert {path: (project / path).read_text() for path in added} == added
    assert files(project) == DEFAULT | added.keys()
    assert (project / "README.md").read_text() != "edited"  # what is the template's is written anew


def test_without_its_hooks_the_project_is_whole_and_trains(tmp_path: Path) -> None:
    result = generate(tmp_path, "--accept-hooks", "no", "project_slug=My-Seed")
    assert (result.returncode, result.stdout) == (0, "")
    project = tmp_path / "my_seed"  # no hook refuses the name, so it is made right
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    command = [sys.executable, "-m", "my_seed.train", "fit", "--config", "configs/smoke.yaml"]
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)


def test_a_smoke_run_that_exceeds_its_time(tmp_path: Path) -> None:
    result = generate(tmp_path, "project_slug=seed", LIT_TEMPLATE_TIMEOUT="1.5")
    assert result.returncode == 0, result.stdout
    assert "NOT VERIFIED: the smoke run took longer than 1.5 s (LIT_TEMPLATE_TIMEOUT)" in result.stdout
    assert whole(tmp_path / "seed")
    required = generate(tmp_path, "project_slug=other", LIT_TEMPLATE_TIMEOUT="1.5", LIT_TEMPLATE_VERIFY="require")
    assert required.returncode == 1
    assert not (tmp_path / "other").exists()


def test_a_loss_that_becomes_nan(tmp_path: Path) -> None:
    template = broken(tmp_path, "lr: 0.01", "lr: 1.0e+30", "templates/task/regression/train.yaml")
    result = generate(tmp_path / "here", "project_slug=seed", template=template)
    assert result.returncode == 1
    assert re.search(r"the loss did not stay finite: 1\.\d+ before, (nan|inf) after", result.stdout), result.stdout
    assert "FAILED: the project does not train" in result.stdout
    assert list((tmp_path / "here").iterdir()) == []


LAST = "  python -m seed.train fit --config configs/smoke.yaml"


def processes(command: str) -> list[int]:
    """Find the processes whose command line matches."""
    found = subprocess.run(["pgrep", "-f", command], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in found.split()]


def read_until(terminal: int, *signs: str) -> str:
    """Read what a terminal shows until it has shown all signs."""
    said = ""
    while not all(sign in said for sign in signs):
        ready, _, _ = select.select([terminal], [], [], 120)
        assert ready, f"nothing more after: {said}"
        said += os.read(terminal, 4096).decode()
    return said


@contextlib.contextmanager
def in_a_terminal(command: list[str], environment: dict[str, str]) -> Iterator[int]:
    """Run a command in a terminal of its own, from a shell that stays as a user's does; give the terminal."""
    import pty

    shell, terminal = pty.fork()
    if shell == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell has its background jobs ignore it
        os.execvpe(
            "sh", ["sh", "-c", 'trap : INT; "$@"; echo "the shell goes on"; read line', "sh", *command], environment
        )
    try:
        yield terminal
    finally:
        os.write(terminal, b"\n")
        os.waitpid(shell, 0)
        os.close(terminal)


@pytest.mark.parametrize("ending", ["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("stage", ["installing", "training"])
def test_an_interrupt_leaves_a_whole_project_and_no_process(tmp_path: Path, stage: str, ending: str) -> None:
    if stage == "training":
        python, environment, sign = Path(sys.executable), {}, "Training one smoke epoch"
    else:
        python, environment = machine(tmp_path / "machine", "torch")
        sign = "pip install --editable"
    environment |= {"TMPDIR": str(tmp_path)}
    with in_a_terminal(*generation(tmp_path, "project_slug=seed", python=python, **environment)) as terminal:
        said = read_until(terminal, sign)
        if stage == "training":
            while not list(tmp_path.glob("lit-template-*")):  # the smoke run's own folder
                time.sleep(0.05)
        if ending == "Ctrl-C":
            os.write(terminal, b"\x03")
        else:
            [hook] = processes(f"{tmp_path}/tmp[^/]*\\.py$")
            os.kill(hook, signal.SIGTERM)
        said += read_until(terminal, LAST, "the shell goes on")
    assert "NOT VERIFIED: interrupted" in said
    assert whole(tmp_path / "seed")
    assert not processes(str(tmp_path))
