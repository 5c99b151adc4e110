"""A team's projects: the same answers, the same layout, and updates for years."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from conftest import CHOICES, REPO, VERIFIED, Render, files, generate

pytestmark = pytest.mark.skipif(os.name == "nt", reason="runs commands in a POSIX shell")


@pytest.fixture(autouse=True)
def _somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    monkeypatch.setenv("LIT_TEMPLATE_VERIFY", "skip")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def run(folder: Path, *command: str | Path, status: int = 0) -> str:
    """Run a command in a folder; return its output."""
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
    """Copy this template into a new repository with the tag v0.1.0."""
    folder = tmp_path / "lit-template"
    shutil.copytree(REPO, folder, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__"))
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder)
    run(folder, "git", "tag", "v0.1.0")
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """Create a project from it with cruft."""
    run(tmp_path, "cruft", "create", template, "--no-input", "--default-config", "--extra-context", '{"ci": "gitlab"}')
    folder = tmp_path / "my_lightning_project"
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder)
    return folder


MODULE = "src/my_lightning_project/module.py"
CURVES = "{{cookiecutter.project_slug}}/src/{{cookiecutter.project_slug}}/engine/curves.py"


def test_cruft_makes_a_project_that_has_trained_and_is_fully_committed(template: Path, tmp_path: Path) -> None:
    said = run(tmp_path, "env", "LIT_TEMPLATE_VERIFY=require", "cruft", "create", template, "--no-input")
    assert VERIFIED.search(said), said
    folder = tmp_path / "my_lightning_project"
    assert run(folder, "git", "status", "--porcelain") == "?? .cruft.json\n"  # cruft writes it after the hooks
    run(folder, "sh", "-c", said.splitlines()[-1])  # as the last line says
    assert run(folder, "git", "status", "--porcelain") == ""
    assert run(folder, "git", "log", "--format=%s", "main").splitlines() == ["Start from lit-template"]
    run(folder, "cruft", "check")


def test_an_update_brings_changes_and_keeps_the_users_edits(template: Path, project: Path) -> None:
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


def test_a_conflict_is_marked_in_the_file(template: Path, project: Path) -> None:
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


def test_the_documented_update_without_cruft_works_as_typed(template: Path, tmp_path: Path) -> None:
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
    assert "template" not in recorded  # a local folder means nothing to others


def blocks(language: str, word: str) -> list[str]:
    """Find the code blocks of docs/teams.md that contain a word."""
    page = (REPO / "docs/teams.md").read_text()
    return [block for block in re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL) if word in block]


def layout_job(ci: str) -> str:
    """Find the CI lines that docs/teams.md gives for the layout check."""
    [github, gitlab] = blocks("yaml", "check_layout.py")
    return github if ci == "github" else gitlab


def add_job(workflow: Path, ci: str) -> None:
    """Add the layout check to a CI file, as docs/teams.md says."""
    if ci == "github":
        change(workflow, "jobs:\n", f"jobs:\n{layout_job(ci)}\n")
    else:
        workflow.write_text(f"{workflow.read_text()}\n{layout_job(ci)}")


def layout_command(workflow: Path) -> str:
    """Read from a CI file how it checks the layout."""
    content = yaml.safe_load(workflow.read_text())
    return content["jobs"]["layout"]["steps"][-1]["run"] if "jobs" in content else content["layout"]["script"][-1]


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_a_team_checks_the_layout_of_its_projects_with_the_documented_commands(render: Render, ci: str) -> None:
    project = render(project_slug="seed", ci=ci)
    shutil.copytree(REPO / "docs", project.parent / "lit-template/docs")
    [install, _] = blocks("bash", "check_layout.py")
    assert run(project, "sh", "-euc", install) == "The project has the team's layout.\n"
    workflow = project / (".github/workflows/ci.yml" if ci == "github" else ".gitlab-ci.yml")
    add_job(workflow, ci)
    command = layout_command(workflow)
    assert run(project, "sh", "-euc", command) == "The project has the team's layout.\n"
    (project / "src/seed/models").mkdir()
    (project / "src/seed/module.py").rename(project / "src/seed/models/module.py")
    (project / "configs/train.yaml").unlink()
    assert run(project, "sh", "-euc", command, status=1).splitlines() == [
        "configs/train.yaml is missing",
        "src/seed/module.py is missing (there is src/seed/models/module.py)",
        "error: not the team's layout: move these back, or change layout.txt for all projects",
    ]


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_a_fork_gives_every_project_the_layout_check(template: Path, tmp_path: Path, ci: str) -> None:
    [_, install] = blocks("bash", "check_layout.py")
    run(template, "sh", "-euc", install)
    source = template / "{{cookiecutter.project_slug}}"
    [workflow] = source.glob(".github/workflows/*" if ci == "github" else "*.gitlab-ci.yml*")
    add_job(workflow, ci)
    result = generate(tmp_path / "here", "project_slug=seed", f"ci={ci}", "verify=skip", template=template)
    assert result.returncode == 0, result.stdout
    project = tmp_path / "here/seed"
    rendered = project / (".github/workflows/ci.yml" if ci == "github" else ".gitlab-ci.yml")
    assert run(project, "sh", "-euc", layout_command(rendered)) == "The project has the team's layout.\n"
    assert run(project, "ruff", "check", ".") == "All checks passed!\n"
    run(project, "ruff", "format", "--check", ".")


@pytest.mark.parametrize("task", CHOICES["task"])
def test_every_new_project_has_the_documented_layout_and_no_check_of_it(render: Render, task: str) -> None:
    project = render(project_slug="seed", task=task)
    run(project, sys.executable, "-S", REPO / "docs/check_layout.py")  # without site-packages
    assert not [path for path in files(project) if "layout" in path]
    assert "layout" not in (project / ".github/workflows/ci.yml").read_text()


@pytest.mark.parametrize("content", [None, "[project]", "[tool"])
def test_a_project_without_a_readable_name_is_an_error_of_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "pyproject.toml").write_text(content)
    [line] = run(tmp_path, sys.executable, REPO / "docs/check_layout.py", tmp_path, status=1).splitlines()
    assert line.startswith("error: ")
    assert f"{tmp_path}/pyproject.toml" in line


def test_the_documented_action_is_the_pinned_one() -> None:
    [action] = re.findall(r"uses: .*", layout_job("github"))
    assert action in (REPO / ".github/workflows/ci.yml").read_text()
