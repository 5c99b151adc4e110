"""Properties of the readers of tables, checked by Hypothesis in a project called `seed`; run by test_fuzz.py.

PYTHONPATH=<project>/src python tests/fuzz_readers.py 3000    # examples per property
"""

import csv
import gzip
import io
import itertools
import sys
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from seed.data.reading import SINGLE_QUOTED, SUFFIXES, Source, open_table
from seed.data.rows import Limit, read_rows
from seed.data.table import Table
from seed.data.values import DAYS, MISSING, TIMES, Rules
from seed.engine.errors import InputError

EXAMPLES = int(sys.argv[1]) if sys.argv[1:] else 100
FOLDER = Path(tempfile.mkdtemp())
SEEN = {"read": 0, "refused": 0}
FILES = itertools.count()


def checked(examples: int) -> settings:
    """Settings of every property: the same examples every time."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


def written(suffix: str, content: bytes) -> Path:
    """Write a file under a new name."""
    path = FOLDER / f"{next(FILES)}{suffix}"
    path.write_bytes(content)
    return path


def read(path: Path, rules: Rules | None = None, **options: Any) -> Table | str:
    """Read a whole table; or return why it was refused, in one line."""
    try:
        source: Source = open_table(str(path), **options)
        table = read_rows([source], source.names, rules or Rules(), Limit(2000, FOLDER)).table
    except InputError as error:
        SEEN["refused"] += 1
        message = str(error)
        assert message.isprintable(), message
        assert len(message) < 500, message
        return message
    finally:
        path.unlink()
    SEEN["read"] += 1
    return table


# 1. Any bytes


def _valid() -> list[tuple[bytes, str]]:
    """Small tables in every format, each with its suffix."""
    frame = pl.DataFrame({"size": [1.5, None, 3.0], "town": ["Bonn", "Köln", None], "on": ["2020-01-31"] * 3})
    valid = [(b'size;town\n1,5;"K\xc3\xb6ln"\n2.000,5;Bonn\n', ".csv"), ("a\tb\r\n1\t2\r\n".encode("utf-16"), ".tsv")]
    for write, suffix in (
        (frame.write_csv, ".csv"),
        (frame.write_parquet, ".parquet"),
        (frame.write_ipc, ".arrow"),
        (frame.write_ndjson, ".jsonl"),
        (frame.write_json, ".json"),
    ):
        buffer = io.BytesIO()
        write(buffer)
        valid.append((buffer.getvalue(), suffix))
    return valid


PLACE = st.floats(0, 1, exclude_max=True)
EDIT = st.tuples(PLACE, st.integers(0, 8), st.binary(max_size=6) | st.sampled_from([b"\n", b",", b'"', b"\0", b"\xff"]))


@st.composite
def contents(draw: st.DrawFn) -> tuple[bytes, str]:
    """Bytes of a file and its suffix: a table with a few bytes changed, or anything."""
    anything = st.tuples(st.binary(max_size=200), st.sampled_from(SUFFIXES))
    content, suffix = draw(st.one_of(*[st.sampled_from(_valid())] * 3, anything))
    for place, removed, inserted in draw(st.lists(EDIT, max_size=3)):
        start = int(place * len(content))
        content = content[:start] + inserted + content[start + removed :]
    if draw(st.integers(0, 3)):
        return content, suffix + draw(st.sampled_from(["", "", "", "", ".gz", ".zst"]))
    content = gzip.compress(content, mtime=0)
    return content[: int(draw(PLACE) * len(content))] if draw(st.booleans()) else content, suffix + ".gz"


@checked(EXAMPLES * 5)
@given(file=contents())
def any_bytes_are_read_or_refused_in_one_line(file: tuple[bytes, str]) -> None:
    """A file is read, or refused in one printable line."""
    content, suffix = file
    read(written(suffix, content))


# 2. What is read is what was written

LETTERS = "abcxyzÄéß"


def _number(value: float, dialect: dict[str, Any]) -> str:
    text = repr(value) if not dialect["thousands"] else f"{value:,}"
    return text.translate({ord(","): dialect["thousands"], ord("."): dialect["decimal"]})


@st.composite
def dialects(draw: st.DrawFn) -> dict[str, Any]:
    """How a file is written."""
    separator = draw(st.sampled_from(",;\t|"))
    decimal = draw(st.sampled_from("." if separator == "," else ".,"))
    return {
        "separator": separator,
        "decimal": decimal,
        "thousands": draw(st.sampled_from(["", *{".": ", '\u00a0", ",": ". '\u00a0"}[decimal]])),
        "encoding": draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"])),
        "quote_all": draw(st.booleans()),
        "line_end": draw(st.sampled_from(["\n", "\r\n"])),
        "missing": draw(st.sampled_from(MISSING)),
        "blank": draw(st.sampled_from(["", "", " "])),
    }


NUMBERS = {
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "short": st.decimals(-(10**7), 10**7, places=3).map(float),
    "three": st.integers(1000, 999_999).map(lambda number: number / 1000),
    "small": st.integers(-2, 5),
    "int": st.integers(-(10**15), 10**15),
    "thousands": st.integers(1, 999).map(lambda number: 1000 * number),
}
DATES = st.datetimes(datetime(1970, 1, 1), datetime(2068, 1, 1))
TEXTS = st.builds(
    str.__add__,
    st.sampled_from(LETTERS),
    st.text(st.sampled_from([*LETTERS, *" ,;|\t\n\r.'\"0123456789-:/"]), max_size=8),
).filter(lambda text: text == text.strip() and text not in MISSING and text.lower() not in ("true", "false"))


@st.composite
def columns(draw: st.DrawFn, dialect: dict[str, Any], rows: int) -> list[tuple[Any, str]]:
    """A column: values beside how they are written; None for missing ones."""
    kind = draw(st.sampled_from([*NUMBERS, "date", "boolean", "text"]))
    gap = st.sampled_from([True, False, False, False] if draw(st.booleans()) else [False])
    form = draw(st.sampled_from(DAYS)) + draw(st.sampled_from(TIMES))
    zone = timezone(timedelta(hours=draw(st.integers(-12, 12))))
    cells: list[tuple[Any, str]] = []
    for _ in range(rows):
        if draw(gap):
            cells.append((None, dialect["missing"]))
        elif kind == "date":
            date = draw(DATES).replace(tzinfo=zone if "%#z" in form else None)
            text = date.strftime(form.replace("%.f", ".%f").replace("%#z", "%z"))
            value = datetime.strptime(text, form.replace("%.f", ".%f").replace("%#z", "%z"))
            cells.append((value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value, text))
        elif kind == "boolean":
            truth = draw(st.booleans())
            cells.append((truth, draw(st.sampled_from([str(truth), str(truth).lower()]))))
        elif kind == "text":
            text = draw(TEXTS)
            cells.append((text, text))
        else:
            number = draw(NUMBERS[kind])
            cells.append((float(number), _number(number, dialect)))
    return cells


def _cell(text: str, dialect: dict[str, Any]) -> str:
    line = io.StringIO()
    quoting = csv.QUOTE_ALL if dialect["quote_all"] or "\r" in text or "\n" in text else csv.QUOTE_MINIMAL
    csv.writer(line, delimiter=dialect["separator"], quoting=quoting, lineterminator="").writerow([text])
    return line.getvalue() if text or dialect["quote_all"] else ""


def _file(header: list[str], rows: list[list[str]], dialect: dict[str, Any]) -> bytes:
    between = dialect["separator"] + dialect["blank"]
    lines = [between.join(_cell(text, dialect) for text in row) for row in [header, *rows]]
    return "".join(line + dialect["line_end"] for line in lines).encode(dialect["encoding"])


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, Any], list[list[tuple[Any, str]]]]:
    """A dialect and columns."""
    dialect = draw(dialects())
    rows = draw(st.integers(1, 12))
    return dialect, [draw(columns(dialect, rows)) for _ in range(draw(st.integers(2, 5)))]


@checked(EXAMPLES * 6)
@given(table=tables(), told=st.booleans())
def what_is_read_is_what_was_written(table: tuple[dict[str, Any], list[list[tuple[Any, str]]]], told: bool) -> None:
    """Values come back to the last bit, or the file is refused with an option that settles it."""
    dialect, columns = table
    names = [f"c{number}" for number in range(len(columns))]
    rows = [row for row in zip(*columns, strict=True) if any(text for _, text in row)]  # a blank line is no row
    try:
        content = _file(names, [[text for _, text in row] for row in rows], dialect)
    except UnicodeEncodeError:
        assume(False)
    options: dict[str, Any] = {}
    if dialect["encoding"] == "cp1252":  # some of it is UTF-8 as well
        options["encoding"] = "cp1252"
    if told:
        options["separator"] = dialect["separator"]
    found = read(written(".csv", content), Rules(decimal=dialect["decimal"]) if told else None, **options)
    if isinstance(found, str):
        assert "--data." in found or not rows, (found, content)
        return
    assert list(found.types) == names
    assert len(found) == len(rows), content
    for name, expected in zip(names, zip(*rows, strict=True), strict=True):
        got = found.column(name).to_list()
        texts = [None if value is None else text.strip() for value, text in expected]
        as_numbers = [float(value).hex() if isinstance(value, (bool, float)) else value for value, _ in expected]
        if found.kind(name) == "number":
            got = [value if value is None else value.hex() for value in got]
            assert got == as_numbers, (name, content)
        elif found.kind(name) == "text":
            assert got == texts, (name, content)
        else:
            assert got == [value for value, _ in expected], (name, content)


# 3. Names of columns


@checked(EXAMPLES * 3)
@given(
    names=st.lists(
        st.text(min_size=1, max_size=12) | st.text(" ,;\"'\n\r\tab*^$", min_size=1, max_size=6), min_size=2, max_size=6
    ),
    dialect=dialects().map(lambda dialect: dialect | {"blank": ""}),
)
@example(
    names=["a", "a"], dialect={"separator": ",", "quote_all": False, "line_end": "\n", "encoding": "utf-8", "blank": ""}
)
def names_come_back(names: list[str], dialect: dict[str, Any]) -> None:
    """Names come back as they were, without blanks around them; doubled ones are refused."""
    try:
        content = _file(names, [["x"] * len(names)] * 3, dialect)
    except UnicodeEncodeError:
        assume(False)
    assume(not SINGLE_QUOTED.match(content.decode(dialect["encoding"])))  # those are quotes
    encoding = dialect["encoding"]
    path = written(".csv", content)
    found = read(path, encoding=encoding, separator=dialect["separator"])
    if isinstance(found, str):
        return
    stripped = [name.strip() for name in names]
    expected = [name or f"unnamed_{number}" for number, name in enumerate(stripped, start=1)]
    assert len(set(expected)) == len(expected), content
    assert list(found.types) == expected, content
    assert len(found) == 3, content


if __name__ == "__main__":
    for check, least_read in (
        (any_bytes_are_read_or_refused_in_one_line, 0.05),
        (what_is_read_is_what_was_written, 0.8),
        (names_come_back, 0.2),
    ):
        SEEN.update(read=0, refused=0)
        check()
        print(check.__name__, SEEN)
        assert SEEN["read"] >= least_read * SEEN["refused"], "the examples are hardly ever read"
