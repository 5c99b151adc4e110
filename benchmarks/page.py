"""The tables of README.md and the picture docs/speed.png, from speed.json: no figure is typed by hand."""

import json
import re
from pathlib import Path
from typing import Any

from switches import TRICKS

TRAINING = (
    *("regression", "rows_10000", "rows_100000", "classification", "image_classification", "language_model"),
    *("stock_lightning", "engine_alone", "hydra_template"),
)


def tables(content: dict[str, Any]) -> str:
    """Tabulate what speed.json holds."""
    cases = content["cases"]
    lines = [
        f"{measured(content['machine'])} "
        f"{content['pairs']} runs of each program, in alternation. Median ratio of wall time [least, greatest].",
        "",
        "Training: the speed of the project as a multiple of the other program's; above 1, the project is faster.",
        "",
        "| training | speed | goal | by hand with tricks |",
        "|---|---|---|---|",
    ]
    for name in TRAINING:
        if case := cases.get(name):
            speed, *others = case["ratios"].values()
            lines.append(f"| {case['title']} | {_ratio(speed)} | {case['goal'] or ''} | {_ratio(*others)} |")
    lines += ["", "Whole processes: the time of the first as a multiple of that of the second; lower is better.", ""]
    lines += ["| processes | cost | goal |", "|---|---|---|"]
    for case in cases.values():
        if case["goal_is"] == "most":
            [cost] = case["ratios"].values()
            lines.append(f"| {case['title']} | {_ratio(cost)} | {case['goal']} |")
    lines += ["", "Tricks: the time without one as a multiple of the time with all; above 1, it pays.", ""]
    lines += ["| trick | case | time without it |", "|---|---|---|"]
    for name, trick in TRICKS.items():
        for case_name in trick.cases:
            if case := cases.get(f"tricks_{case_name}"):
                lines.append(f"| {trick.what} | {case_name} | {_ratio(case['ratios'][name])} |")
    return "\n".join(lines) + "\n"


def write(result: Path, page: Path, picture: Path) -> None:
    """Write the tables between the marks of a page, and draw the picture.

    Args:
        result: speed.json.
        page: README.md.
        picture: PNG file.
    """
    content = json.loads(result.read_text())
    insert(page, result.name, tables(content))
    draw(content, picture)


def insert(page: Path, source: str, text: str) -> None:
    """Put a text between the marks of a page that name its source, such as speed.json."""
    marked = re.compile(rf"(?<=<!-- from {re.escape(source)} -->\n).*?(?=<!-- end -->)", re.DOTALL)
    page.write_text(marked.sub(lambda _: text, page.read_text()))


def measured(machine: dict[str, Any]) -> str:
    """Say when, where and with which versions something was measured."""
    where = machine["accelerator"] or f"{machine['cores']} cores of an {machine['cpu']}, no accelerator"
    return (
        f"Measured on {machine['date'][:10]} on {where}, {machine['threads']} thread; {machine['system']}, Python "
        f"{machine['python']}, torch {machine['torch']}, Lightning {machine['lightning']}."
    )


def draw(content: dict[str, Any], picture: Path) -> None:
    """Draw the speeds of the trainings."""
    from matplotlib.figure import Figure

    cases = [content["cases"][name] for name in reversed(TRAINING) if name in content["cases"]]
    speeds = [next(iter(case["ratios"].values()))["wall"] for case in cases]
    medians = [speed["median"] for speed in speeds]
    spread = [
        [speed["median"] - speed["least"] for speed in speeds],
        [speed["greatest"] - speed["median"] for speed in speeds],
    ]
    figure = Figure(figsize=(10, 0.5 * len(cases) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    axes.barh([case["title"] for case in cases], medians, xerr=spread, color="tab:purple", alpha=0.8)
    for place, median in enumerate(medians):
        axes.annotate(f" {median:.2f}", (0, place), va="center", color="white", fontweight="bold")
    axes.axvline(1, color="black", linewidth=1)
    axes.set(xlabel="speed of the rendered project; 1 is that of the program it is compared with")
    figure.savefig(picture, dpi=120)


def _ratio(ratio: dict[str, Any] | None = None) -> str:
    if ratio is None:
        return ""
    wall = ratio["wall"]
    return f"{wall['median']:.2f} [{wall['least']:.2f}, {wall['greatest']:.2f}]"
