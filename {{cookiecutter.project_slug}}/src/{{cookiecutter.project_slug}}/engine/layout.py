"""Does the project still stand as lit-template laid it out? CI asks on every push, and needs nothing but Python.

    python -m {{ cookiecutter.project_slug }}.engine.layout

What must be where is listed in `[tool.lit-template]` of pyproject.toml, so that the projects of a team stay alike.
"""

import sys
import tomllib
from pathlib import Path

from .errors import InputError

SEARCHED = ("configs", "src", "tests")  # where something that was moved may be found again


def differences(project: Path) -> list[str]:
    """Name what is no longer where the template put it.

    Args:
        project: The folder with pyproject.toml.

    Returns:
        One line for each path that is missing, with where a file of its name is now.

    Raises:
        InputError: If pyproject.toml does not say what must be where.
    """
    try:
        text = (project / "pyproject.toml").read_text(encoding="utf-8")
        paths = tomllib.loads(text)["tool"]["lit-template"]["layout"]
    except FileNotFoundError:
        raise InputError(f"{project / 'pyproject.toml'} is not there: run this in the project's folder") from None
    except KeyError:
        raise InputError("pyproject.toml has no `layout` in [tool.lit-template]: take it from the template") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"pyproject.toml cannot be read: {error}") from None
    found = []
    for path in paths:
        if (project / path).exists():
            continue
        places = [place for folder in SEARCHED for place in sorted((project / folder).rglob(Path(path).name))]
        now = ", ".join(place.relative_to(project).as_posix() for place in places)
        found.append(f"{path} is missing" + (f" (there is {now})" if now else ""))
    return found


def main() -> None:
    """Print what differs; exit 1 if anything does."""
    try:
        found = differences(Path.cwd())
    except InputError as error:
        sys.exit(f"error: {error}")
    if found:
        print(*found, sep="\n")
        sys.exit("error: the layout is no longer that of lit-template: move things back, or settle it for all projects")
    print("The layout is that of lit-template.")


if __name__ == "__main__":
    main()
