"""Check that a project has every path its team expects; needs nothing but Python.

    python .ci/check_layout.py [project]    # the current folder by default

The paths are in `layout.txt` beside this file, one per line; `<package>` stands for the name in pyproject.toml.
"""

import sys
import tomllib
from pathlib import Path

LAYOUT = Path(__file__).with_name("layout.txt")
SEARCHED = ("configs", "src", "tests")  # where a moved file may be


def expected_paths(project: Path) -> list[str]:
    """Read the expected paths, with the project's own package name.

    Raises:
        OSError: If a file cannot be read.
        KeyError: If pyproject.toml gives no name.
        ValueError: If pyproject.toml is not valid TOML.
    """
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [line.split("#")[0].strip() for line in LAYOUT.read_text(encoding="utf-8").splitlines()]
    return [line.replace("<package>", metadata["name"].replace("-", "_")) for line in lines if line]


def missing_paths(project: Path) -> list[str]:
    """List the expected paths that are missing, one message each, with where a file of that name is now."""
    messages = []
    for path in expected_paths(project):
        if (project / path).exists():
            continue
        found = [place for folder in SEARCHED for place in sorted((project / folder).rglob(Path(path).name))]
        now = ", ".join(place.relative_to(project).as_posix() for place in found)
        messages.append(f"{path} is missing" + (f" (there is {now})" if now else ""))
    return messages


def main() -> None:
    """Print what is missing; exit 1 if anything is."""
    project = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    try:
        messages = missing_paths(project)
    except KeyError:
        sys.exit(f"error: {project / 'pyproject.toml'} gives no name under [project]")
    except OSError as error:
        sys.exit(f"error: cannot read {error.filename}: {error.strerror}")
    except ValueError as error:
        sys.exit(f"error: cannot read {project / 'pyproject.toml'}: {error}")
    if messages:
        print(*messages, sep="\n")
        sys.exit(f"error: not the team's layout: move these back, or change {LAYOUT.name} for all projects")
    print("The project has the team's layout.")


if __name__ == "__main__":
    main()
