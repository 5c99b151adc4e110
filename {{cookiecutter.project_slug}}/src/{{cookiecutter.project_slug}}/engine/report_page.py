"""report.html: a run on one page, from the files in its folder. Nothing here imports PyTorch.

It is written when `fit`, `validate`, `test` or `predict` ends, and by `compare --html` for runs that were killed.
"""

import base64
import csv
import shlex
import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .charts import budget_for, chart, legend
from .commands import list_runs
from .comparison import SECTIONS, RunFiles, changes_of_code, duration, facts_of, text_of, texts_of
from .page import Markup, details, html, link, page, table
from .panels import Panel, make_panels
from .record import differences, flatten, status_of, write_whole
from .results import best_step, read_curves, read_test, stage_and_metric

FILE = "report.html"
LARGEST = 950_000  # bytes of a page; pictures that do not fit are linked
WIDE = 2  # widths to a height, from which a picture gets a row for itself
TEXT = 6_000  # characters of a text that are shown
ROWS = 10  # of a table of predictions
CELL = 80  # characters of one of its cells
MAIN_VERSIONS = ("python", "torch", "lightning")


def write_report(folder: Path, there: Sequence[Path] | None = None) -> Path:
    """Write report.html into a run's folder, whatever it holds.

    Args:
        folder: The run's folder.
        there: All runs beside it, the newest last, if they are known.

    Returns:
        The path of the page.
    """
    run = RunFiles(folder)
    panels = make_panels(read_curves(folder))
    before = [_header(run), *_results(run, panels), *_curves(panels)]
    there = list_runs(folder.parent) if there is None else there
    facts = [*_previous(run, there), *_config(folder), *_environment(run.record), *_files(folder)]
    after = [*_texts(folder), *facts]
    room = LARGEST - sum(len(part.encode()) for part in [*before, *after])
    write_whole(folder / FILE, page(f"{folder.name}: report", [*before, *_pictures(folder, room), *after]))
    return folder / FILE


def _header(run: RunFiles) -> str:
    record = run.record
    status = status_of(record) or "unknown"
    last = (record.get("sessions") or [{}])[-1]
    facts = [
        f"started {record['started'][:16].replace('T', ' ')}" if record.get("started") else "",
        f"took {duration(record.get('seconds'))}" if record.get("seconds") else "",
        _count(record.get("epochs"), "epoch"),
        _count(run.steps, "step"),
    ]
    why = last.get("error") or last.get("signal")
    reason = f"<p>{html(status)}: <code>{html(why)}</code></p>" if why else ""
    badge = f'<span class="status {html(status)}">{html(status)}</span>'
    about = html(", ".join(filter(None, facts)))
    return f'<h1>{html(run.folder.name)} {badge}</h1>\n<p class="soft">{about}</p>{reason}'


def _count(number: int | None, what: str) -> str:
    return "" if number is None else f"{number:,} {what}{'' if number == 1 else 's'}"


def _results(run: RunFiles, panels: list[Panel]) -> Iterator[str]:
    yield "<h2>Result</h2>"
    curve = read_curves(run.folder, (run.monitor,)).get(run.monitor, {})
    best = best_step(curve, run.mode)
    if best is not None:
        which = "lowest" if run.mode == "min" else "highest"
        about = f'<span class="soft">the {which}, at step {best}</span>'
        yield f'<p class="headline">{html(run.monitor)} <b>{curve[best]:.4g}</b> {about}</p>'
    tested = {parts[1]: value for name, value in read_test(run.folder).items() if (parts := stage_and_metric(name))}
    by_metric = {panel.metric: panel for panel in panels}
    rows = []
    for metric in dict.fromkeys([*by_metric, *tested]):
        panel = by_metric.get(metric, Panel(metric))
        at_best = None if best is None else panel.val.get(best)
        values = [_last(panel.train), _last(panel.val), at_best, tested.get(metric)]
        rows.append([metric, *("" if value is None else f"{value:.4g}" for value in values)])
    if rows:
        yield table(["metric", "train, last", "validation, last", "validation, at best.ckpt", "test"], rows)
    else:
        yield '<p class="soft">No metric was logged.</p>'
    if rows and not tested:
        yield '<p class="soft">Not tested yet: <code>test</code> evaluates best.ckpt on the test split.</p>'


def _last(curve: dict[int, float]) -> float | None:
    return [*curve.values()][-1] if curve else None


def _curves(panels: list[Panel]) -> Iterator[str]:
    if panels:
        budget = budget_for(panels)
        yield '<h2>Curves by step</h2>\n<div class="grid">'
        for panel in panels:
            yield f"<section><h3>{html(panel.metric)}</h3>{chart(panel, budget)}{legend(panel)}</section>"
        yield "</div>"


def _pictures(folder: Path, room: int) -> Iterator[str]:
    found = [path for path in sorted(folder.glob("*.png"), key=lambda path: path.stem) if path.name != "curves.png"]
    if found:
        yield '<h2>Pictures</h2>\n<div class="grid">'
    for path in found:
        content = path.read_bytes()
        width, height = struct.unpack(">II", content[16:24]) if len(content) > 24 else (1, 1)
        source = quote(path.name)
        if len(content) * 4 / 3 < room:
            source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
            room -= len(source)
        kind = ' class="wide"' if width > WIDE * height else ""
        image = f'<img src="{source}" alt="{html(path.stem)}, a picture of this run">'
        yield f"<figure{kind}>{image}<figcaption>{link(quote(path.name), path.stem)}</figcaption></figure>"
    if found:
        yield "</div>"


def _texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if len(text) > TEXT:
            text = f"{text[: TEXT // 3]}\n[… {path.name} has all …]\n{text[-2 * TEXT // 3 :]}"
        yield f'<h2>{html(path.name)}</h2>\n<pre class="wrap" tabindex="0">{html(text)}</pre>'
    path = folder / "predictions.csv"
    if path.exists():
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            heading, *rows = islice(csv.reader(file), ROWS + 1)
        cut = [[cell if len(cell) <= CELL else f"{cell[:CELL]}…" for cell in row] for row in rows]
        yield f"<h2>Predictions</h2>\n{table(heading, cut, numbers=False)}"
        yield f"<p>The first rows of {link(path.name, path.name)}.</p>"


def _previous(run: RunFiles, there: Sequence[Path]) -> Iterator[str]:
    """Say what differs from the run that was started before this one."""
    names = [folder.name for folder in there]
    position = names.index(run.folder.name) if run.folder.name in names else 0
    if not position:
        return
    other = RunFiles(there[position - 1])
    name = other.folder.name
    report = other.folder / FILE
    shown = link(quote(f"../{name}/{FILE}"), name) if report.exists() else html(name)
    yield f"<h2>What differs from the previous run, {shown}</h2>"
    same, unknown = [], []
    for section in SECTIONS:
        facts = [facts_of(each, section) for each in (other, run)]
        if not all(facts):
            unknown.append(section)
        elif different := differences(*facts):
            rows = [[key, *texts_of(*pair)] for key, pair in different.items()]
            content = table([section, name, run.folder.name], rows, numbers=False)
            changed = changes_of_code(*facts) if section == "code" else ""
            yield details(f"{section}: {len(rows)}", content + (f"<p>{html(changed)}</p>" if changed else ""), True)
        else:
            same.append(section)
    for what, sections in (("The same", same), ("Not recorded", unknown)):
        if sections:
            yield f'<p class="soft">{what}: {", ".join(sections)}</p>'


def _config(folder: Path) -> Iterator[str]:
    path = folder / "config.yaml"
    if path.exists():
        text = path.read_text(encoding="utf-8", errors="replace")
        yield "<h2>Config</h2>"
        yield details("config.yaml, with all defaults", f'<pre tabindex="0">{html(text)}</pre>')


def _environment(record: dict[str, Any]) -> Iterator[str]:
    if not record:
        return
    yield "<h2>Environment</h2>"
    sessions = record.get("sessions") or []
    code = record.get("git") or {}
    versions = record.get("versions") or {}
    commit = f"{code.get('commit')}{', with changes that were not committed' if code.get('dirty') else ''}"
    commands = [shlex.join(map(str, session.get("command") or [])) for session in sessions]
    hardware = record.get("hardware") or {}
    facts = {
        "commit": commit if code else "not in a git repository",
        "seed": record.get("seed"),
        **flatten(record.get("parameters") or {}, "parameters"),
        **{name: hardware[name] for name in ("trained_on", "processes", "processor") if name in hardware},
        **{name: versions[name] for name in MAIN_VERSIONS if name in versions},
    }
    rows = [["command", Markup(f"<code>{html(command)}</code>")] for command in commands]
    yield table(["fact", "value"], [*rows, *_rows(facts)], numbers=False)
    for name, more in (("Data", record.get("data")), ("Hardware", hardware), ("All versions", versions)):
        if more:
            yield details(name, table(["fact", "value"], _rows(flatten(more)), numbers=False))
    if len(sessions) > 1:
        shown = ("status", "started", "ended", "from_step", "to_step", "host")
        times = [[str(number), *(text_of(each.get(key)) for key in shown)] for number, each in enumerate(sessions, 1)]
        yield details("Sessions: it was resumed", table(["session", *shown], times, numbers=False), True)


def _rows(facts: dict[str, Any]) -> list[list[str]]:
    return [[name, text_of(value)] for name, value in facts.items()]


def _files(folder: Path) -> Iterator[str]:
    found = [path for path in [*folder.glob("*"), *folder.glob("checkpoints/*")] if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path.stat().st_size for path in found}
    rows = [[link(quote(name), name), f"{size / 1000:,.1f} kB"] for name, size in sorted(names.items())]
    yield f"<h2>Files</h2>\n{details(f'{len(rows)} files', table(['file', 'size'], rows))}"
