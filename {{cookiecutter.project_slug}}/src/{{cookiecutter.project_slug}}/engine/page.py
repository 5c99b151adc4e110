"""HTML pages in one file: no network, no framework, light and dark, on wide and narrow screens."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1f2328; --soft: #59636e; --line: #d1d9e0; --panel: #f6f8fa;
  --link: #0969da; --train: #0b5cad; --val: #bc4c00; --good: #1a7f37; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --back: #0d1117; --text: #e6edf3; --soft: #9198a1; --line: #3d444d;
  --panel: #151b23; --link: #4493f8; --train: #6cb6ff; --val: #f69d50; --good: #3fb950; --bad: #f85149; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem clamp(.8rem, 3vw, 2rem) 4rem; max-width: 76rem; background: var(--back);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0 0 .3rem; font-size: 1.9rem; line-height: 1.2; } h2 { margin: 2.2rem 0 .8rem; font-size: 1.25rem;
  border-bottom: 1px solid var(--line); padding-bottom: .3rem; } h3 { margin: 1.2rem 0 .4rem; font-size: 1rem; }
p { margin: .4rem 0; } a { color: var(--link); } .soft, figcaption, caption { color: var(--soft); }
.status { display: inline-block; padding: 0 .6em; border: 1px solid currentColor; border-radius: 1em;
  font-size: .85rem; vertical-align: middle; white-space: nowrap; }
.finished { color: var(--good); } .failed, .killed { color: var(--bad); }
.headline { font-size: 1.25rem; } .headline b { font-size: 1.7rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; overflow-wrap: break-word; } td { min-width: 4rem; } td.number, th.number { text-align: right; }
td.number { white-space: nowrap; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid; }
th[aria-sort=ascending] button::after { content: " \\25b2"; } th[aria-sort=descending] button::after {
  content: " \\25bc"; } td.name { min-width: 9rem; }
.grid { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)); }
figure { margin: 0; } figure.wide { grid-column: 1 / -1; overflow-x: auto; } figure.wide img { min-width: 40rem; }
figure img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
svg { display: block; width: 100%; height: auto; } svg text { font: 13px system-ui, sans-serif; fill: var(--soft); }
svg path { fill: none; stroke-width: 2; stroke-linejoin: round; } svg .grid { stroke: var(--line); stroke-width: 1; }
svg path.batches { stroke: var(--train); stroke-width: 1.2; opacity: .5; } svg path.train { stroke: var(--train); }
svg path.val { stroke: var(--val); } svg circle { r: 3px; } circle.train { fill: var(--train); }
circle.val { fill: var(--val); } svg.spark { width: 5rem; height: 1.25rem; } svg.spark path { stroke-width: 1.5; }
.key { margin-right: 1rem; font-size: .85rem; color: var(--soft); white-space: nowrap; } .key::before { content: "";
  display: inline-block; width: 1.4em; height: 3px; margin-right: .4em; vertical-align: middle;
  background: var(--train); } .key.val::before { background: var(--val); } .key.batches::before { opacity: .5;
  height: 1px; }
pre { margin: .4rem 0; padding: .8rem; overflow: auto; max-height: 36rem; background: var(--panel); border-radius: 6px;
  font: .85rem/1.45 ui-monospace, monospace; overflow-wrap: normal; } pre.wrap { white-space: pre-wrap;
  overflow-wrap: anywhere; } code { font: .9em ui-monospace, monospace; }
details { margin: .5rem 0; } summary { cursor: pointer; font-weight: 600; }
"""


class Markup(str):
    """Text that is HTML already; all other text is escaped."""


def html(value: Any) -> str:
    """Return a value as HTML."""
    return value if isinstance(value, Markup) else escape(str(value))


def link(address: str, text: Any) -> Markup:
    """Link to a file by its relative path, which must be quoted for URLs."""
    return Markup(f'<a href="{escape(address)}">{html(text)}</a>')


def page(title: str, parts: Iterable[str], script: str = "") -> str:
    """Make a whole page.

    Args:
        title: Its title, as plain text.
        parts: Its content, as HTML.
        script: A script; the page runs this one and no other.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    scripts = f"script-src 'sha256-{digest}'; " if script else ""
    policy = f"default-src 'none'; img-src data: 'self' file:; style-src 'unsafe-inline'; {scripts}base-uri 'none'"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>",
            *parts,
            f"</main>\n{f'<script>{script}</script>' if script else ''}</body>\n</html>\n",
        ]
    )


def table(headings: Sequence[Any], rows: Iterable[Sequence[Any]], numbers: bool = True) -> str:
    """Make a table; the first column holds names, and the others numbers unless told otherwise."""
    kind = ' class="number"' if numbers else ""
    head = "".join(
        f'<th scope="col"{kind if position else ""}>{html(name)}</th>' for position, name in enumerate(headings)
    )
    body = "".join(
        f'<tr><th scope="row">{html(row[0])}</th>{"".join(f"<td{kind}>{html(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def details(summary: str, content: str, is_open: bool = False) -> str:
    """Make a section that can be opened and closed."""
    return f"<details{' open' if is_open else ''}><summary>{escape(summary)}</summary>{content}</details>"
