"""Refuse answers that cannot make a working project, before any file is written, and report all of them at once."""

import sys

if __name__ == "__main__":
    sys.path.pop(0)  # cookiecutter runs this from the temporary directory, where a stray json.py may lie

import json
import keyword
import re
import unicodedata

# The dependencies of rendered projects and the best known of theirs, by distribution and import name: a package of the
# same name would shadow them, or be shadowed.
DEPENDENCIES = (
    "absl aiohttp alembic anyio attr attrs certifi click colorlog cookiecutter cryptography cycler databricks "
    "detect_secrets docker docstring_parser execnet fastapi fastapi_offline filelock flask flatbuffers fsspec "
    "functorch git gitdb google grpc grpcio h11 hatch hatchling httpcore httpx hypothesis idna iniconfig jinja2 "
    "joblib jsonargparse kiwisolver lightning lightning_fabric lightning_utilities markdown markupsafe matplotlib "
    "ml_dtypes mlflow mpl_toolkits mpmath multidict multipart mypy mypy_extensions mypyc networkx nodeenv numpy "
    "nvidia onnx onnx_ir onnxruntime onnxscript opentelemetry optuna packaging pandas pathspec pil pillow pip "
    "pkg_resources platformdirs pluggy polars pre_commit pre_commit_hooks propcache protobuf psutil py pyarrow "
    "pydantic pydantic_core pygments pylab pyparsing pytest pytest_xdist python_multipart pytorch pytorch_lightning "
    "pyyaml ray requests rich ruff scikit_learn scipy sentry_sdk setuptools six sklearn sky skypilot sqlalchemy "
    "starlette sympy tensorboard tensorflow threadpoolctl torch torch_xla torchaudio torchgen torchmetrics "
    "torchvision tqdm triton types_pyyaml typeshed_client typing_extensions urllib3 uv uvicorn virtualenv wandb "
    "werkzeug wheel xdist yaml yaml_stubs yarl"
).split()
LAYOUT = (
    "build checkpoints configs data dist docs hooks kubernetes notebooks runs slurm src templates test tests "
    "walkthrough"
).split()
# The project's command would shadow these in its environment.
COMMANDS = "activate bash cd deactivate exec export ls pip3 python python2 python3 pythonw rm sh source sudo".split()
WINDOWS = ["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))]
FREE_TEXT = ("project_name", "description", "author_name")
LONGEST = {"project_name": 200, "description": 2000, "author_name": 2000}
LONGEST_SLUG = 64
# Invisible marks that change the writing direction, so that a line reads differently than it is (Trojan Source).
BIDI_CONTROLS = set(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]))


def slug_problem(slug):
    """Describe what is wrong with a slug; None if it is valid."""
    if not slug:
        return "is empty"
    if len(slug) > LONGEST_SLUG:
        return f"is longer than {LONGEST_SLUG} characters"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", slug):
        return "must begin with a letter and contain only a-z, 0-9 and _"
    if slug.endswith("_") or "__" in slug:
        return "must not end with _ or contain two in a row, which packaging tools would change"
    if keyword.iskeyword(slug) or slug in keyword.softkwlist or slug in ("true", "false", "none"):
        return "is a Python keyword"
    if slug in sys.stdlib_module_names:
        return "is a module of Python's standard library"
    if slug in DEPENDENCIES:
        return "is a package that the project depends on"
    if slug in LAYOUT:
        return "is the name of a folder in the project"
    if slug in COMMANDS:
        return "is a command that shells need"
    if slug in WINDOWS:
        return "is a device name on Windows"
    return None


def suggestion(slug):
    """Turn a refused slug into a valid one."""
    plain = unicodedata.normalize("NFKD", slug).encode("ascii", "ignore").decode().lower()
    better = re.sub("[^a-z0-9]+", "_", plain).strip("_")[:LONGEST_SLUG].strip("_")
    if not slug_problem(better):
        return better
    return f"lit_{better}"[:LONGEST_SLUG].strip("_") if better else "my_project"


def text_problem(text, longest):
    """Describe what is wrong with a line of free text and how to fix it; None if it is valid."""
    if not text.strip():
        return "is empty; write one line of text"
    if len(text) > longest:
        return f"has {len(text)} characters; write at most {longest}"
    if text != text.strip():
        return "begins or ends with whitespace; remove it"
    for place, character in enumerate(text, start=1):
        # Control characters, line separators, surrogates and noncharacters do not survive every file format.
        unwritable = unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs")
        if unwritable or ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF:
            return f"contains U+{ord(character):04X} at position {place}; write one line without control characters"
        if character in BIDI_CONTROLS:
            return f"contains U+{ord(character):04X} at position {place}, an invisible direction mark; remove it"
    if found := re.search("[{][%#{]|[}%#][}]", text):
        return f"contains {found[0]!a}, which is Jinja syntax; put a space between the two characters"
    return None


def problems(answers):
    """List every problem with the answers, one line each."""
    found = []
    slug = answers["__asked_slug"]  # `project_slug` holds a safe name instead: its folder exists already
    if problem := slug_problem(slug):
        found.append(("project_slug", slug, f"{problem}; try {suggestion(slug)}"))
    for key in FREE_TEXT:
        if problem := text_problem(answers[key], LONGEST[key]):
            found.append((key, answers[key], problem))
    return [f"{key} {short(text)} {problem}" for key, text, problem in found]


def short(text):
    """Quote an answer in ASCII, shortened to fit on one line."""
    return ascii(text if len(text) <= 70 else text[:67] + "...")


def main(answers):
    """Print the problems; exit 1 if there are any."""
    found = problems(answers)
    for line in found:
        print(f"lit-template: {line}", file=sys.stderr)
    if found:
        sys.exit(1)


if __name__ == "__main__":
    # `tojson` escapes single quotes, so no answer can end this string.
    main(json.loads(r'''{{ cookiecutter | tojson }}'''))  # fmt: skip
