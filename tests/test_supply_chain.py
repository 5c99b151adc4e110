"""Dependencies are pinned, audited and updated; secrets and large files stay out of commits."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import CHOICES, PAIRS, REPO, Render, files, render_into

TOOLS = Path(sys.executable).parent
FETCH = r"\b(curl|wget|iwr|irm|Invoke-WebRequest|Invoke-RestMethod)\b"
SHELL = r"(sudo\s+(-\S+\s+)*)?(\S*/)?(env\s+)?((ba|da|z|k)?sh|python3?|iex|Invoke-Expression)\b"
# Piped into a shell, also on the next line, or by $(...) and <(...).
PIPED_TO_SHELL = re.compile(rf"{FETCH}(\\\n|[^|\n])*\|\s*{SHELL}|{SHELL}[^\n]*[$<]\(\s*{FETCH}")
PINNED = re.compile(r"uses: (\S+)@([0-9a-f]{40})  # (v\d+\.\d+\.\d+)$")


def workflows(folder: Path) -> list[Path]:
    found = sorted((folder / ".github/workflows").glob("*.yml"))
    assert found
    return found


def pins(folder: Path) -> set[tuple[str, ...]]:
    """Return the actions and their commits; assert that all are pinned."""
    found = set()
    for path in workflows(folder):
        for line in path.read_text().splitlines():
            if "uses:" in line:
                match = PINNED.search(line)
                assert match, f"{path.name}: {line.strip()}"
                found.add(match.groups())
    return found


def test_actions_are_pinned_by_commit_here_and_in_projects(render: Render) -> None:
    own = pins(REPO)
    assert len({action for action, *_ in own}) == len(own)  # one version of each
    assert pins(render(ci="github")) <= own


def test_workflows_have_only_read_permissions(render: Render) -> None:
    for path in workflows(REPO) + workflows(render(ci="github")):
        content = yaml.safe_load(path.read_text())
        assert content["permissions"] == {"contents": "read"}, path
        assert not [name for name, job in content["jobs"].items() if "permissions" in job]


def test_zizmor_finds_nothing(render: Render) -> None:
    project = render(ci="github")
    command = [TOOLS / "zizmor", "--offline", "--pedantic", REPO / ".github", project / ".github"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "No findings to report" in result.stdout + result.stderr


def test_every_task_is_verified_weekly() -> None:
    jobs = yaml.safe_load((REPO / ".github/workflows/weekly.yml").read_text())["jobs"]
    assert jobs["prove"]["strategy"]["matrix"]["task"] == CHOICES["task"]
    assert jobs["prove"]["env"]["LIT_TEMPLATE_VERIFY"] == "require"


@pytest.mark.parametrize(("ci", "audit"), [("github", "ci.yml"), ("gitlab", ".gitlab-ci.yml")])
def test_projects_check_for_vulnerabilities_and_new_versions(render: Render, ci: str, audit: str) -> None:
    project = render(ci=ci)
    [path] = [path for path in files(project) if path.endswith(audit)]
    assert "pip-audit --strict ." in (project / path).read_text()
    updates = {"github": ".github/dependabot.yml", "gitlab": "renovate.json"}[ci]
    content = yaml.safe_load((project / updates).read_text())  # JSON is YAML
    assert content.get("minimumReleaseAge") == "7 days" or all(part["cooldown"] for part in content["updates"])


def test_no_download_is_piped_into_a_shell(render: Render) -> None:
    for folder in (REPO, *(render(project_slug=ci, ci=ci) for ci in ("github", "gitlab"))):
        tracked = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=True).stdout
        for path in tracked.splitlines() if folder == REPO else files(folder):
            if Path(path).suffix not in (".png", ".svg") and path != "tests/test_supply_chain.py":
                text = (folder / path).read_text(encoding="utf-8")
                assert not PIPED_TO_SHELL.search(text), path


@pytest.mark.parametrize(
    "text",
    [
        "curl -LsSf https://example.org/install.sh | sh",
        "curl https://example.org | sudo -E bash",
        "wget -qO- https://example.org \\\n  | /bin/bash -s",
        'bash -c "$(curl -fsSL https://example.org)"',
        "sh <(curl https://example.org)",
        "irm https://example.org | iex",
        "curl https://example.org | python3 -",
    ],
)
def test_a_download_piped_into_a_shell_is_recognized(text: str) -> None:
    assert PIPED_TO_SHELL.search(text)


@pytest.mark.parametrize("task", CHOICES["task"])
def test_checkpoints_are_loaded_with_weights_only(render: Render, task: str) -> None:
    project = render(task=task)
    loads = 0
    for path in project.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("torch.load", "load_from_checkpoint")):
                assert "weights_only=True" in [ast.unparse(keyword) for keyword in node.keywords], ast.unparse(node)
                loads += 1
    assert loads >= 4
    assert "set_defaults(weights_only=True)" in (project / "src/my_lightning_project/engine/cli.py").read_text()


@pytest.fixture
def repository(render: Render, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = render()
    monkeypatch.setenv("SKIP", "mypy")  # tests/test_render.py runs it on every task
    monkeypatch.setenv("PATH", str(TOOLS), prepend=os.pathsep)
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    subprocess.run(["git", "add", "--all"], cwd=project, check=True)
    return project


def pre_commit(project: Path) -> tuple[int, str]:
    subprocess.run(["git", "add", "--all"], cwd=project, check=True)
    command = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr


def test_this_repository_passes_its_own_checks() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True).stdout
    tracked = [path for path in listed.split("\0") if path and (REPO / path).exists()]
    for command in (["ruff", "check"], ["ruff", "format", "--check"], ["detect-secrets-hook", *tracked]):
        result = subprocess.run(
            [TOOLS / command[0], *command[1:]], cwd=REPO, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr


def test_a_new_project_passes_its_own_checks(repository: Path) -> None:
    status, said = pre_commit(repository)
    assert status == 0, said


def test_no_answer_looks_like_a_secret(tmp_path: Path) -> None:
    projects = [render_into(tmp_path / str(number), **answers) for number, answers in enumerate(PAIRS)]
    different = {(project / path).read_bytes(): project / path for project in projects for path in files(project)}
    command = [TOOLS / "detect-secrets-hook", *different.values()]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('key = "AKIA' + "IOSFODNN7EXAMPLF" + '"\n', "AWS Access Key"),
        ("-----BEGIN RSA " + "PRIVATE KEY-----\n", "Private Key"),
        ('token = "gh' + "p_" + "zY9" * 12 + '"\n', "GitHub Token"),
    ],
)
def test_a_secret_is_not_committed(repository: Path, text: str, kind: str) -> None:
    (repository / "settings.txt").write_text(text)
    status, said = pre_commit(repository)
    assert status == 1
    assert f"Secret Type: {kind}" in said
    assert "settings.txt:1" in said


def test_a_checkpoint_or_a_dataset_is_not_committed(repository: Path) -> None:
    (repository / "model.ckpt").write_bytes(bytes(1_100_000))
    status, said = pre_commit(repository)
    assert status == 1
    assert "model.ckpt (1075 KB) exceeds 1000 KB" in said


def test_ci_finds_a_checkpoint_that_was_committed_anyway(repository: Path) -> None:
    (repository / "model.ckpt").write_bytes(bytes(1_100_000))
    (repository / "uv.lock").write_bytes(bytes(1_100_000))  # the only file that may be large
    subprocess.run(["git", "add", "--all"], cwd=repository, check=True)
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *author, "commit", "--quiet", "--no-verify", "--message", "x"], cwd=repository, check=True)
    status, said = pre_commit(repository)
    assert status == 1
    assert "model.ckpt (1075 KB) exceeds 1000 KB" in said
    assert "uv.lock (" not in said
