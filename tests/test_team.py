"""A team's standard: the same answers, the same layout, and updates for years."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from conftest import REPO, Render, files, generate
from test_generate import VERIFIED

pytestmark = pytest.mark.skipif(os.name == "nt", reason="types the commands into a POSIX shell")


@pytest.fixture(autouse=True)
def _somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    monkeypatch.setenv("LIT_TEMPLATE_VERIFY", "skip")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def run(folder: Path, *command: str | Path, status: int = 0) -> str:
    """Run a command in a folder; give all that it printed."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == status, result.stdout
    return result.stdout


def commit(folder: Path, message: str = "A change") -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--no-verify", "--message", message)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """Put this template, as it stands, into a repository of its own with the tag v0.1.0."""
    folder = tmp_path / "lit-template"
    shutil.copytree(REPO, folder, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__"))
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder)
    run(folder, "git", "tag", "v0.1.0")
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """Let cruft make a project of it."""
    run(tmp_path, "cruft", "create", template, "--no-input", "--default-config", "--extra-context", '{"ci": "gitlab"}')
    folder = tmp_path / "my_lightning_project"
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder)
    return folder


MODULE = "src/my_lightning_project/module.py"
CURVES = "{{cookiecutter.project_slug}}/src/{{cookiecutter.project_slug}}/engine/curves.py"


def test_cruft_makes_a_project_that_has_trained_and_is_committed_whole(template: Path, tmp_path: Path) -> None:
    said = run(tmp_path, "env", "LIT_TEMPLATE_VERIFY=require", "cruft", "create", template, "--no-input")
    assert VERIFIED.search(said), said
    folder = tmp_path / "my_lightning_project"
    assert run(folder, "git", "status", "--porcelain") == "?? .cruft.json\n"  # cruft writes it after the hooks
    run(folder, "sh", "-c", said.splitlines()[-1])  # as the last line says
    assert run(folder, "git", "status", "--porcelain") == ""
    assert run(folder, "git", "log", "--format=%s", "main").splitlines() == ["Start from lit-template"]
    run(folder, "cruft", "check")


def test_an_update_brings_what_is_new_and_keeps_what_the_user_wrote(template: Path, project: Path) -> None:
    change(project / MODULE, "lr: float = 0.01", "lr: float = 0.02")
    (project / "notes.md").write_text("mine\n")
    (project / "configs/debug/profile.yaml").unlink()
    commit(project)
    own = run(project, "cruft", "diff")
    assert "lr: float = 0.02" in own
    assert "lit-template:" not in own
    assert "NOT VERIFIED" not in own
    run(project, "cruft", "check")

    change(template / CURVES, '"""', '"""New: ')
    (template / "{{cookiecutter.project_slug}}/NEW.md").write_text("{{ cookiecutter.project_name }}\n")
    change(template / "{{cookiecutter.project_slug}}/pyproject.toml", 'version = "0.1.0"\n{%', 'version = "0.2.0"\n{%')
    commit(template)
    assert "out of date" in run(project, "cruft", "check", status=1)
    said = run(project, "cruft", "update", "--skip-apply-ask")
    assert said.splitlines() == ["Good work! Project's cruft has been updated and is as clean as possible!"]

    assert "lr: float = 0.02" in (project / MODULE).read_text()
    assert (project / "notes.md").read_text() == "mine\n"
    assert not (project / "configs/debug/profile.yaml").exists()
    assert (project / "src/my_lightning_project/engine/curves.py").read_text().startswith('"""New: ')
    assert (project / "NEW.md").read_text() == "My Lightning Project\n"
    recorded = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["lit-template"]
    assert (recorded["version"], recorded["answers"]["ci"]) == ("0.2.0", "gitlab")
    commit(project)
    run(project, "cruft", "check")


def test_a_conflict_is_marked_where_it_is(template: Path, project: Path) -> None:
    change(project / MODULE, "lr: float = 0.01", "lr: float = 0.02")
    commit(project)
    change(template / "templates/task/regression/module.py", "lr: float = 0.01", "lr: float = 0.03")
    change(template / CURVES, '"""', '"""New: ')
    commit(template)
    said = run(project, "cruft", "update", "--skip-apply-ask")
    assert f"Applied patch to '{MODULE}' with conflicts." in said
    text = (project / MODULE).read_text()
    assert re.search(r"<<<<<<< ours\n.*0\.02.*\n=======\n.*0\.03.*\n>>>>>>> theirs", text), text
    assert (project / "src/my_lightning_project/engine/curves.py").read_text().startswith('"""New: ')


def test_the_commands_for_an_update_without_cruft_work_as_typed(template: Path, tmp_path: Path) -> None:
    generate(tmp_path, "--checkout", "v0.1.0", 'description=It\'s "quoted" \\ 🎉', template=template)
    project = tmp_path / "my_lightning_project"
    change(project / MODULE, "lr: float = 0.01", "lr: float = 0.02")
    commit(project)
    change(template / CURVES, '"""', '"""New: ')
    (template / "{{cookiecutter.project_slug}}/configs/debug/profile.yaml").unlink()
    commit(template)
    run(template, "git", "tag", "v0.2.0")

    page = (REPO / "docs/teams.md").read_text()
    [commands] = re.findall(r"```bash\n(python -c.*?)```", page, flags=re.DOTALL)
    run(project, "bash", "-euc", commands.replace("gh:org/lit-template", str(template)))
    assert run(project, "git", "status", "--porcelain", "--branch") == "## main\n"
    assert "lr: float = 0.02" in (project / MODULE).read_text()
    assert (project / "src/my_lightning_project/engine/curves.py").read_text().startswith('"""New: ')
    assert not (project / "configs/debug/profile.yaml").exists()
    assert 'It\'s "quoted" \\ 🎉' in (project / "README.md").read_text()


def test_a_team_answers_its_questions_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--config-file", REPO / "docs/team.yaml"]
    run(tmp_path, *command, REPO, "license=MIT")
    content = tomllib.loads((tmp_path / "my_lightning_project/pyproject.toml").read_text())
    answers = content["tool"]["lit-template"]["answers"]
    team = yaml.safe_load((REPO / "docs/team.yaml").read_text())["default_context"]
    assert {key: answers[key] for key in team} == team | {"license": "MIT"}
    assert (tmp_path / "my_lightning_project/.gitlab-ci.yml").exists()


def test_the_answers_and_the_version_are_recorded(render: Render) -> None:
    recorded = tomllib.loads((render(task="classification") / "pyproject.toml").read_text())["tool"]["lit-template"]
    [newest, *_] = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (REPO / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert recorded["version"] == newest
    assert recorded["answers"]["task"] == "classification"
    assert "template" not in recorded  # a folder of this machine says nothing to others


def test_a_project_whose_layout_has_left_the_template_is_told_what_differs(render: Render) -> None:
    project = render(project_slug="seed")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(project / "src")}
    command = [sys.executable, "-S", "-m", "seed.engine.layout"]  # without site-packages
    assert subprocess.run(command, cwd=project, env=environment, check=False).returncode == 0
    (project / "src/seed/train.py").rename(project / "src/seed/engine/main.py")
    (project / "configs/train.yaml").rename(project / "configs/debug/train.yaml")
    result = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        "configs/train.yaml is missing (there is configs/debug/train.yaml)",
        "src/seed/train.py is missing",
    ]


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_every_push_asks_for_the_layout(render: Render, ci: str) -> None:
    project = render(project_slug="seed", ci=ci)
    workflow = project / (".github/workflows/ci.yml" if ci == "github" else ".gitlab-ci.yml")
    content = yaml.safe_load(workflow.read_text())
    job = content["jobs"]["layout"] if ci == "github" else content["layout"]
    assert "python -m seed.engine.layout" in str(job)
    layout = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["lit-template"]["layout"]
    assert layout == sorted(layout)
    assert {path for path in files(project) if path.startswith(("configs/", "tests/test_"))} == {
        path for path in files(project) if path.startswith(tuple(layout)) and not path.startswith(("src/", "README"))
    }
