"""Fuzzing of the readers: no traceback, and no value changes silently.

The properties are in `fuzz_readers.py`, which runs in one child process inside a rendered project.
"""

from conftest import REPO, Render, in_project


def test_readers_of_tables_withstand_fuzzing(render: Render) -> None:
    project = render(project_slug="seed", task="regression")
    in_project(project, str(REPO / "tests" / "fuzz_readers.py"), "80")
