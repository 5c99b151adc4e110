"""Train one smoke epoch with the generated project, and report the result.

The hook runs the user's own command in a clean child process, with a Python that has the project's dependencies.
If there is none, it creates the project's `.venv`, which the user needs next anyway. A project that trains becomes a
git repository with a first commit, unless it is already inside one. The hook reads no input, pushes nothing, prints
ASCII, and leaves no trace of the smoke run.

    LIT_TEMPLATE_VERIFY   auto, require or skip: overrides the answer `verify`
    LIT_TEMPLATE_PYTHON   the Python to train with
    LIT_TEMPLATE_TIMEOUT  time limit of the smoke run in seconds (default 600)
"""

import sys

if __name__ == "__main__":
    sys.path.pop(0)  # cookiecutter runs this from the temporary directory, where a stray json.py may lie

import contextlib
import csv
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

WINDOWS = os.name == "nt"
# Sent by Ctrl-C, by schedulers and by a closing terminal; nohup ignores the last.
INTERRUPTS = [
    number
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if (number := getattr(signal, name, None)) and signal.getsignal(number) is not signal.SIG_IGN
]
VENV_PYTHON = Path(".venv", "Scripts" if WINDOWS else "bin", "python.exe" if WINDOWS else "python")

# A candidate Python runs this in the project, with the oldest supported version as argument. It prints its versions, or
# what it lacks and whether installing packages would help. It imports no PyTorch, since the smoke run will.
PROBE = r"""
import json, re, sys
from importlib.metadata import PackageNotFoundError, version
def lacks(what, installable=True):
    print(json.dumps({"lacks": what, "installable": installable}))
    sys.exit()
if sys.version_info < tuple(map(int, sys.argv[1].split("."))):
    lacks("Python " + sys.argv[1], installable=False)
import tomllib
try:
    from packaging.requirements import Requirement
except ImportError:
    Requirement = None  # Lightning depends on it, so something else is missing too
with open("pyproject.toml", "rb") as file:
    dependencies = tomllib.load(file)["project"]["dependencies"]
missing = []
for requirement in dependencies:
    name = re.match("[A-Za-z0-9._-]+", requirement)[0]
    try:
        installed = version(name)
    except PackageNotFoundError:
        missing.append(requirement)
        continue
    if Requirement and not Requirement(requirement).specifier.contains(installed, prereleases=True):
        missing.append(f"{requirement} (it has {installed})")
if not missing and not Requirement:
    missing.append("packaging")
if missing:
    missing.sort(key=lambda requirement: not re.match("torch([ ;<=>~!]|$)", requirement))  # name torch first
    lacks(missing[0] + (f" and {len(missing) - 1} more" if missing[1:] else ""))
print(json.dumps({"python": sys.version.split()[0], "torch": version("torch")}))
"""

# A Python with which the smoke run has failed runs this. It prints why its PyTorch cannot be imported, if so.
IMPORTS = r"""
try:
    import torch
    import lightning.pytorch
except Exception as error:
    print("a torch that can be imported (" + (str(error).splitlines() or [type(error).__name__])[0] + ")")
"""


class NotVerified(Exception):
    """The smoke epoch could not run on this machine, so nothing is known about the project."""


class Broken(Exception):
    """The smoke epoch ran, but the project does not train."""


def say(text=""):
    """Print a line in ASCII, which every console can show."""
    print(text.encode("ascii", "replace").decode(), flush=True)


def child_environment(environ):
    """Drop variables of schedulers and launchers: the child must run as a single process."""
    scheduler = ("SLURM_", "PMI_", "PMIX_", "OMPI_", "TORCHELASTIC_", "GROUP_", "ROLE_")
    rank = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
    python = ("PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS", "PYTHONIOENCODING", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    kept = {k: v for k, v in environ.items() if not k.startswith(scheduler) and k not in rank + python}
    return kept | {"PYTHONUTF8": "1", "PYTHONSAFEPATH": "1", "DO_NOT_TRACK": "true"}


def interrupted(signum, frame):
    """Handle a signal like Ctrl-C, so that no child process is left behind.

    Later signals are ignored, since they would interrupt the cleanup. They do come: the same Ctrl-C ends cookiecutter,
    and then the terminal hangs up on this process.
    """
    for number in INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def interrupts_held():
    """Delay signals while a child process is started or killed: an interrupt there would leave it behind."""
    received = []
    held = {
        number: signal.signal(number, lambda number, frame: received.append(number))
        for number in INTERRUPTS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
    if received:
        interrupted(received[0], None)


def run(command, timeout=None, **options):
    """Run a command in a new process group; kill the whole group on a timeout or an interrupt.

    Returns:
        The exit status and the captured output, if any.
    """
    if WINDOWS:
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        options["start_new_session"] = True
    child = None
    try:
        with interrupts_held():
            child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", **options,
            )  # fmt: skip
        output, _ = child.communicate(timeout=timeout)
    except BaseException:
        if child:
            with interrupts_held():
                end(child)
        raise
    return child.returncode, output or ""


def end(child):
    """Kill a child process and its descendants."""
    if WINDOWS:
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(child.pid)], capture_output=True, check=False)
    else:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(child.pid, signal.SIGTERM)
            child.wait(timeout=5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdout:
        child.stdout.close()


def candidates(environ):
    """List the Pythons to try, the most likely first, each once."""
    bin_python = VENV_PYTHON.relative_to(".venv")
    places = [Path(sys.executable)]
    if environ.get("VIRTUAL_ENV"):
        places.append(Path(environ["VIRTUAL_ENV"], bin_python))
    if environ.get("CONDA_PREFIX"):
        places.append(Path(environ["CONDA_PREFIX"], "python.exe" if WINDOWS else "bin/python"))
    places += [Path(found) for name in ("python3", "python") if (found := shutil.which(name))]
    places.append(VENV_PYTHON.absolute())  # made by an earlier generation
    return [str(place) for place in dict.fromkeys(places) if place.exists()]


def probe(python, oldest, environment):
    """Ask a Python for its versions: {"python", "torch"}, or {"lacks", "installable"}."""
    broken = {"lacks": "a working interpreter", "installable": False}
    try:
        status, output = run([python, "-c", PROBE, oldest], timeout=120, stdout=subprocess.PIPE, env=environment)
        return json.loads(output.splitlines()[-1]) if status == 0 else broken
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return broken


def unusable_torch(python, environment):
    """Ask a Python why its PyTorch cannot be imported; None if it can."""
    _, output = run([python, "-c", IMPORTS], timeout=120, stdout=subprocess.PIPE, env=environment)
    lines = [line for line in output.splitlines() if line.startswith("a torch that ")]
    return lines[-1] if lines else None


def install(base, oldest, environment):
    """Create the project's `.venv` with its dependencies, showing the installer's progress.

    Raises:
        NotVerified: If a command fails, or there is no Python to start from.
    """
    if base is None and not shutil.which("uv"):
        raise NotVerified(f"there is no Python {oldest} or newer here, nor uv to fetch one")
    say("Making the project's own .venv (PyTorch is large, this takes minutes)")
    if uv := shutil.which("uv"):
        environment = {"UV_COMPILE_BYTECODE": "1"} | environment  # otherwise the first run spends ten seconds on it
        steps = [
            [uv, "venv", "--quiet", "--allow-existing", "--python", base or f">={oldest}", ".venv"],
            [uv, "pip", "install", "--python", VENV_PYTHON, "--editable", ".", "--group", "dev"],
        ]
    else:
        steps = [
            [base, "-m", "venv", ".venv"],
            [VENV_PYTHON, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1"],
            [VENV_PYTHON, "-m", "pip", "install", "--editable", ".", "--group", "dev"],
        ]
    existed = Path(".venv").exists()
    try:
        for step in steps:
            say("$ " + shlex.join(str(part) for part in step))
            status, _ = run(step, env=environment)
            if status:
                raise NotVerified(f"that command ended with status {status}; its error is above")
    except BaseException:
        if not existed:
            shutil.rmtree(".venv", ignore_errors=True)  # an incomplete environment would be misleading
        raise


def smoke(package, python, environment, seconds):
    """Train the smoke epoch.

    Returns:
        The validation loss before and after, and the device.

    Raises:
        Broken: If the run fails, or the loss does not fall or is not finite.
        NotVerified: If the run is killed or exceeds its time limit.
    """
    project = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="lit-template-", ignore_cleanup_errors=True) as folder:
        # Run in a temporary folder, so that the project stays free of runs and byte code.
        configs = [part for name in ("train", "smoke") for part in ("--config", project / "configs" / f"{name}.yaml")]
        command = [python, "-m", f"{package}.train", "fit", *configs]
        environment = environment | {"PYTHONPATH": str(project / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            status, log = run(command, timeout=seconds, stdout=subprocess.PIPE, cwd=folder, env=environment)
        except subprocess.TimeoutExpired:
            raise NotVerified(f"the smoke run took longer than {seconds:g} s (LIT_TEMPLATE_TIMEOUT)") from None
        if status < 0:
            raise NotVerified(f"the smoke run was killed by {signal.Signals(-status).name}")
        if status:
            raise Broken("\n".join([*log.splitlines()[-25:], f"the smoke run ended with status {status}"]))
        losses = [
            float(row["val_loss"])
            for path in Path(folder).glob("runs/*/metrics.csv")
            for row in csv.DictReader(path.read_text().splitlines())
            if row.get("val_loss")
        ]
        records = [json.loads(path.read_text(encoding="utf-8")) for path in Path(folder).glob("runs/*/run.json")]
    if len(losses) < 2:
        raise Broken("the smoke run logged no val_loss before and after training")
    if not all(map(math.isfinite, losses)):
        raise Broken(f"the loss did not stay finite: {losses[0]:.4g} before, {losses[-1]:.4g} after")
    if losses[-1] >= losses[0]:
        raise Broken(f"the loss did not fall: {losses[0]:.4g} before, {losses[-1]:.4g} after")
    return losses[0], losses[-1], records[0]["hardware"]["trained_on"] if records else "an unknown device"


def train(package, python, has, environment, seconds):
    """Train with a Python that seems to have what the project needs, and report the losses."""
    say(f"Training one smoke epoch with Python {has['python']} and torch {has['torch']}")
    say(f"  {python}")
    start = time.monotonic()
    before, after, device = smoke(package, python, environment, seconds)
    seconds = time.monotonic() - start
    say(f"VERIFIED: it trains on {device}. Loss {before:.4g} before, {after:.4g} after, in {seconds:.1f} s")


def verify(package, oldest, environ):
    """Train with the first Python that can, or with a new one.

    Returns:
        The Python used for training.

    Raises:
        Broken: If the project does not train.
        NotVerified: If LIT_TEMPLATE_PYTHON names a Python that lacks something, or nothing can be installed.
    """
    try:
        seconds = float(environ.get("LIT_TEMPLATE_TIMEOUT") or 600)
    except ValueError:
        raise NotVerified("LIT_TEMPLATE_TIMEOUT must be a number of seconds") from None
    environment = child_environment(environ)
    chosen = environ.get("LIT_TEMPLATE_PYTHON")
    base, lacking = None, []
    for python in [chosen] if chosen else candidates(environ):
        found = probe(python, oldest, environment)
        if "lacks" not in found:
            try:
                train(package, python, found, environment, seconds)
                return python
            except Broken:
                found = {"lacks": unusable_torch(python, environment), "installable": True}
                if found["lacks"] is None:
                    raise
        if chosen:
            raise NotVerified(f"LIT_TEMPLATE_PYTHON ({chosen}) lacks {found['lacks']}")
        lacking.append(f"  {python} lacks {found['lacks']}")
        if found["installable"]:
            base = base or python
    say("\n".join(["No Python here has what the project needs:", *lacking]))
    install(base, oldest, environment)
    python = str(VENV_PYTHON.absolute())
    found = probe(python, oldest, environment)
    if "lacks" in found:
        raise NotVerified(f"the new .venv lacks {found['lacks']}")
    train(package, python, found, environment, seconds)
    return python


def git(*arguments, **options):
    """Run git in the current folder, isolated from the caller's repository, editor and hooks.

    Returns:
        The exit status and the output.
    """
    location = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE")
    environment = {key: value for key, value in os.environ.items() if key not in location}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true", "LC_ALL": "C"}
    settings = {
        "core.hooksPath": os.devnull,  # run no hooks from the user's template directory
        "commit.gpgSign": "false",  # signing may ask for a passphrase
        "user.useConfigOnly": "true",  # do not let git make up an address
    }
    given = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    return run(["git", *given, *arguments], stdout=subprocess.PIPE, env=environment, **options)


def start_repository(python, environment):
    """Make the project a git repository on `main`, with a first commit and pre-commit installed.

    All of this is optional: failures are reported, and the project stays as it is.

    Returns:
        Whether there is a first commit.
    """
    if not shutil.which("git"):
        return False
    status, said = git("rev-parse", "--is-inside-work-tree")
    if status == 0:
        return False  # its owner commits
    if "not a git repository" not in said:
        say(f"git: no repository was made: {said.splitlines()[-1] if said else status}")
        return False
    for step in (
        ["init", "--quiet"],
        ["symbolic-ref", "HEAD", "refs/heads/main"],  # like `--initial-branch`, which needs git 2.28
        ["add", "--all"],
        ["commit", "--quiet", "--message", "Start from lit-template"],
    ):
        status, said = git(*step)
        if status:
            say(f"git: `git {step[0]}` is left to you: {said.splitlines()[-1] if said else status}")
            break
    committed = status == 0
    if committed:
        say("git: a repository on main, with a first commit")
    status, _ = run([python, "-m", "pre_commit", "install"], stdout=subprocess.PIPE, env=environment)
    if status == 0:
        say("git: pre-commit looks at every commit from now on (with the environment active)")
    else:
        say("git: `pre-commit install` is left to you, once the tools are installed")
    return committed


def next_commands(package, python):
    """List the next three commands for the user.

    Args:
        package: Name of the project's folder and package.
        python: The Python used for training, or None.
    """
    activate = r".venv\Scripts\activate" if WINDOWS else ". .venv/bin/activate"
    if python is None:
        ready = f'python -m venv .venv && {activate} && pip install "pip>=25.1" && pip install -e . --group dev'
        return [f"cd {package}", ready, f"python -m {package}.train fit --config configs/smoke.yaml"]
    if Path(python) == VENV_PYTHON.absolute():
        return [f"cd {package}", activate, f"python -m {package}.train fit"]
    python = subprocess.list2cmdline([python]) if WINDOWS else shlex.quote(python)
    return [f"cd {package}", f"{python} -m pip install -e . --group dev", f"{python} -m {package}.train fit"]


def rendered_by_cruft(answers, project):
    """Tell whether cruft is rendering for `update` or `diff`, where there is nothing to verify.

    cruft does not tell hooks. It is recognized by rendering into a `tempfile.TemporaryDirectory`, without the
    `_output_dir` that cookiecutter's own command records.
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    folder = project.resolve().parent
    return "_output_dir" not in answers and folder.parent == temporary and bool(re.fullmatch(r"tmp\w{8}", folder.name))


def remove_empty_folders(project):
    """Remove folders whose files were not requested: cookiecutter renders a folder even if it stays empty."""
    on_github = (".github/ISSUE_TEMPLATE", ".github/workflows", ".github")
    on_gitlab = (".gitlab/issue_templates", ".gitlab")
    for name in (*on_github, *on_gitlab, "kubernetes", "slurm", "walkthrough"):
        folder = project / name
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def main(answers, environ=os.environ):
    """Verify the project in the current folder.

    Returns:
        The exit status: 1 makes cookiecutter remove the project.
    """
    project, package = Path.cwd(), answers["project_slug"]
    remove_empty_folders(project)
    if rendered_by_cruft(answers, project):
        return 0
    for number in INTERRUPTS:
        signal.signal(number, interrupted)
    mode = environ.get("LIT_TEMPLATE_VERIFY") or answers["verify"]
    python, committed = None, False
    try:
        if mode not in ("auto", "require", "skip"):
            raise NotVerified("LIT_TEMPLATE_VERIFY must be auto, require or skip")
        if mode == "skip":
            raise NotVerified("as you asked")
        python = verify(package, answers["python_version"], environ)
        with contextlib.suppress(OSError, KeyboardInterrupt):
            committed = start_repository(python, child_environment(environ))
    except Broken as error:
        say(str(error))
        say("FAILED: the project does not train, for the reason above (--keep-project-on-failure lets you look at it)")
        return 1
    except (NotVerified, OSError, KeyboardInterrupt) as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else error
        say(f"NOT VERIFIED: {reason}")
        if mode == "require":
            return 1
    say()
    say("Next:")
    for command in next_commands(package, python):
        say(f"  {command}")
    if committed and "_output_dir" not in answers:  # cruft writes it after the hooks
        say("  git add .cruft.json && git commit --amend --no-edit")
    return 0


if __name__ == "__main__":
    # `tojson` escapes single quotes, so no answer can end this string.
    sys.exit(main(json.loads(r'''{{ cookiecutter | tojson }}''')))  # fmt: skip
