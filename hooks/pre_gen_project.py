"""Refuse answers that cannot make a working project, all of them at once, before a file is written."""

import sys

if __name__ == "__main__":
    sys.path.pop(0)  # the temporary directory, where cookiecutter puts this file and a stray json.py may lie

import json
import keyword
import re

# Import names of what a rendered project depends on: a package of the same name would hide it.
DEPENDENCIES = (
    "hatchling jsonargparse lightning matplotlib mlflow mypy numpy pandas pip polars pre_commit pytest "
    "pytorch_lightning rich ruff scipy setuptools sklearn tensorboard torch torchmetrics torchvision wandb yaml"
).split()
LAYOUT = "build configs data dist docs runs src test tests".split()
WINDOWS = ["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))]
FREE_TEXT = ("project_name", "description", "author_name")
LONGEST = {"project_name": 200, "description": 2000, "author_name": 2000}


def slug_problem(slug):
    """Say what is wrong with the name of folder, package and command; None if nothing is."""
    if not slug:
        return "is empty"
    if len(slug) > 64:
        return "is longer than 64 characters"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", slug):
        return "must begin with a letter and hold only a-z, 0-9 and _"
    if slug.endswith("_") or "__" in slug:
        return "must not end with _ or hold two in a row, which packaging tools would change"
    if keyword.iskeyword(slug) or slug in keyword.softkwlist:
        return "is a keyword of Python"
    if slug in sys.stdlib_module_names:
        return "is a module of Python's standard library"
    if slug in DEPENDENCIES:
        return "is a package that the project depends on"
    if slug in LAYOUT:
        return "is the name of a folder in the project"
    if slug in WINDOWS:
        return "is a device name on Windows"
    return None


def text_problem(text, longest):
    """Say what is wrong with a line of free text; None if nothing is."""
    if not text.strip():
        return "is empty"
    if len(text) > longest:
        return f"is longer than {longest} characters"
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text):
        return "must be one line without control characters"
    if re.search("[{][%#{]", text):
        return "must not hold a curly bracket followed by another, by % or by #: Jinja would take it for its own"
    return None


def problems(answers):
    """List every problem of the answers, one line each."""
    found = [("project_slug", slug_problem(answers["project_slug"]))]
    found += [(key, text_problem(answers[key], LONGEST[key])) for key in FREE_TEXT]
    return [f"{key} {answers[key]!a} {problem}" for key, problem in found if problem]


def main(answers):
    """Print the problems; exit 1 if there are any."""
    found = problems(answers)
    for line in found:
        print(f"lit-template: {line}", file=sys.stderr)
    if found:
        sys.exit(1)


if __name__ == "__main__":
    # `tojson` leaves no single quote, so that no answer can end this string.
    main(json.loads(r'''{{ cookiecutter | tojson }}'''))  # fmt: skip
