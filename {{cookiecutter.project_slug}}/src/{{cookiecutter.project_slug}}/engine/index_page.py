"""index.html: all runs on one page, with links to their reports. Nothing here imports PyTorch."""

from collections.abc import Sequence
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .charts import sparkline
from .commands import last_start, list_runs
from .comparison import DIRTY, RunFiles, cells_of, headings, rank, text_of
from .page import Markup, html, link, page
from .record import flatten, write_whole
from .report_page import FILE, write_report
from .results import read_curves, without_noise

INDEX = "index.html"
SETTINGS = 8  # of the config, in which runs differ, that the table shows
# Sort by a click on a heading: numbers as numbers, empty cells last.
SCRIPT = """
const body = document.querySelector("tbody");
document.querySelectorAll("th button").forEach((button, column) => button.addEventListener("click", () => {
  const heading = button.closest("th"), down = heading.getAttribute("aria-sort") === "ascending";
  document.querySelectorAll("th").forEach(each => each.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = row => row.children[column].dataset.key;
  const compare = (one, other) => one === "" || other === "" ? (one === "") - (other === "")
    : (down ? -1 : 1) * (isNaN(one) || isNaN(other) ? one.localeCompare(other) : one - other);
  body.append(...[...body.rows].sort((one, other) => compare(key(one), key(other))));
}));
"""


def write_index(root: Path, by: str | None, mode: str | None) -> Path:
    """Write index.html into the folder of all runs, and the reports that are missing or older than their runs.

    Runs may also be one level deeper, as `<root>/<sweep>/<trial>/`.

    Args:
        root: Folder of all runs.
        by: Metric to sort by; see `rank`.
        mode: "min" or "max": which of its values is best.

    Raises:
        InputError: If there is no run, or nothing says which value is best.

    Returns:
        The path of the page.
    """
    sweeps = [folder for folder in root.glob("*/") if not last_start(folder)]
    found = {folder: list_runs(folder) for folder in (root, *sweeps)}
    ranking = rank(sorted(chain(*found.values()), key=last_start), root, by, mode)
    for run, _ in ranking.runs:
        if _is_outdated(run.folder):
            write_report(run.folder, found[run.folder.parent])
    settings = {run.folder: flatten(without_noise(run.config)) for run, _ in ranking.runs}
    varied = _varied([*settings.values()])
    names = ["run", *(name.replace("-\n", "").replace("\n", " ") for name in headings(ranking.metric))]
    names += [name.replace(".init_args", "") for name in varied]
    head = "".join(f'<th scope="col"><button>{escape(name)}</button></th>' for name in names)
    head += f'<th scope="col">{escape(ranking.metric)} by step</th>'
    rows = "".join(
        _row(root, run, value, ranking.metric, [settings[run.folder].get(name) for name in varied])
        for run, value in ranking.runs
    )
    dirty = any((run.record.get("git") or {}).get("dirty") for run, _ in ranking.runs)
    parts = [
        f'<h1>Runs</h1>\n<p class="soft">{len(ranking.runs)} runs, sorted by {escape(ranking.metric)}, the best first.'
        " A click on a heading sorts by it.</p>",
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>',
        f'<p class="soft">{DIRTY}</p>' if dirty else "",
    ]
    write_whole(root / INDEX, page("Runs", parts, SCRIPT))
    return root / INDEX


def _is_outdated(folder: Path) -> bool:
    report = folder / FILE
    written = report.stat().st_mtime_ns if report.exists() else 0
    files = (folder / name for name in ("run.json", "metrics.csv", "metrics-test.csv"))
    return any(file.exists() and file.stat().st_mtime_ns > written for file in files) or not written


def _varied(settings: Sequence[dict[str, Any]]) -> list[str]:
    """Name the settings in which runs differ, the first `SETTINGS` of them."""
    seen: dict[str, set[str]] = {}
    for each in settings:
        for name, value in each.items():
            seen.setdefault(name, set()).add(str(value))
    return [name for name, values in seen.items() if len(values) > 1][:SETTINGS]


def _row(root: Path, run: RunFiles, value: float | None, metric: str, settings: Sequence[Any]) -> str:
    name = run.folder.relative_to(root).as_posix()
    status, started, *shown = cells_of(run, value)
    record = run.record
    count = (record.get("parameters") or {}).get("all")
    # Sorted by the number itself, where a cell rounds it
    keys = [record.get("seconds"), run.steps, count, value, shown[-1]]
    badge = Markup(f'<span class="status {escape(status)}">{escape(status)}</span>')
    cells = [
        _cell(name, link(quote(f"{name}/{FILE}"), name), "name"),
        _cell(status, badge),
        _cell(record.get("started"), started),
        *(_cell(key, text, "number") for key, text in zip(keys, shown, strict=True)),
        *(_cell(setting, "" if setting is None else text_of(setting), "number") for setting in settings),
        f"<td>{sparkline(read_curves(run.folder, (metric,)).get(metric, {}))}</td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _cell(key: Any, content: str, kind: str = "") -> str:
    return f'<td class="{kind}" data-key="{"" if key is None else html(key)}">{html(content)}</td>'
