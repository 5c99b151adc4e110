"""Predict rows of a table with an exported model, with NumPy and ONNX Runtime alone.

    python predict.py rows.csv > predictions.csv

It needs model.onnx and model.json in its folder. In Python:

    from predict import Predictor

    Predictor(".").predict([{"a": 1.5, "b": "x"}])
"""

import csv
import json
import math
import os
import re
import sys
from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

GROUPING = {".": r"[ '\u00a0\u202f,]", ",": r"[ '\u00a0\u202f.]"}  # between thousands, by decimal sign
TRUE, FALSE = ("true", "1", "1.0"), ("false", "0", "0.0")


class Predictor:
    """An exported model of tables.

    Args:
        folder: Folder of model.onnx and model.json.

    Attributes:
        about: The content of model.json.
    """

    def __init__(self, folder: Path | str) -> None:
        self.about, self.session = open_model(folder)
        self.columns: list[dict[str, Any]] = self.about.get("columns", [])
        self.missing = set(self.about.get("missing_values", ()))
        known = {column["name"]: column["categories"] for column in self.columns if column["type"] == "category"}
        self.codes = {name: {value: code for code, value in enumerate(values, 1)} for name, values in known.items()}

    def predict(self, rows: Sequence[dict[str, Any]], batch_size: int = 1024) -> dict[str, list[Any]]:
        """Predict for rows.

        Args:
            rows: Values by column: numbers, texts, booleans, or None for a missing value. Other columns are ignored.
            batch_size: Rows that are run together.

        Returns:
            Columns by name: the targets, or the class and the probability of each class.

        Raises:
            InputError: If a column is absent, or a value is not what its column holds.
        """
        return predict_in_batches(self, rows, batch_size)

    def read(self, paths: Sequence[str]) -> list[dict[str, Any]]:
        """Read the rows of CSV files, or of .npz files for a model of plain arrays."""
        if not self.columns:
            return read_arrays(paths)
        rows: list[dict[str, Any]] = []
        for path in paths:
            with Path(path).open(newline="", encoding="utf-8-sig") as file:
                header = file.readline()
                # The separator that gives the most fields: names of columns may hold the others.
                separator = max(",;\t|", key=lambda sign: len(next(csv.reader([header], delimiter=sign), [])))
                file.seek(0)
                names, *lines = [*csv.reader(file, delimiter=separator, skipinitialspace=True)] or [[]]
            rows += [dict(zip([name.strip() for name in names], line, strict=False)) for line in lines if line]
        return rows

    def encode(self, rows: Sequence[dict[str, Any]], first: int = 1) -> dict[str, np.ndarray]:
        """Turn rows into numbers (rows, inputs), float64, and codes of categories (rows, columns), int64.

        Args:
            rows: As for `predict`.
            first: Number of the first row, for messages.

        Raises:
            InputError: If a row cannot be used.
        """
        if not self.columns:
            return stack(rows, self.about)
        numbers: list[list[float]] = [[] for _ in rows]
        codes: list[list[int]] = [[] for _ in rows]
        for column in self.columns:
            for position, row in enumerate(rows):
                try:
                    value = self._present(row, column)
                    if column["type"] == "category":
                        codes[position].append(self._code(value, column))
                    else:
                        numbers[position] += to_numbers(value, column)
                except KeyError:
                    raise InputError("no such column in the data", column["name"]) from None
                except ValueError as error:
                    raise InputError(str(error), column["name"], first + position) from None
        inputs = {
            "numbers": np.array(numbers, dtype=np.float64).reshape(len(rows), -1),
            "codes": np.array(codes, dtype=np.int64).reshape(len(rows), -1),
        }
        return {given["name"]: inputs[given["name"]] for given in self.about["inputs"]}

    def decode(self, outputs: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Turn outputs into columns."""
        if "values" in outputs:
            return dict(zip(self.about["targets"], outputs["values"].T.tolist(), strict=True))
        if "probabilities" in outputs:
            scores, classes = outputs["probabilities"], self.about["classes"]
            names = [classes[number] for number in scores.argmax(axis=1)]
            columns = {f"probability_{name}": scores[:, number].tolist() for number, name in enumerate(classes)}
            return {self.about["targets"][0]: names, **columns}
        return plain_columns(outputs)

    def _present(self, row: dict[str, Any], column: dict[str, Any]) -> Any:
        """Return the value of a column, or None if it is missing."""
        value = present(row[column["name"]], self.missing)
        if value is None and column["required"]:
            raise ValueError("holds no value; this model needs one")
        return value

    def _code(self, value: Any, column: dict[str, Any]) -> int:
        """Return the code of a category; 0 for one unseen in training."""
        if isinstance(value, str) and column["holds"] == "number":
            [value] = to_numbers(value, column | {"type": "number"})
        if isinstance(value, bool):
            value = str(value).lower()
        elif isinstance(value, float) and value.is_integer():
            value = int(value)
        return self.codes[column["name"]].get(None if value is None else str(value), 0)


def present(value: Any, missing: Collection[str]) -> Any:
    """Return a value, or None if it is NaN or one of the texts that stand for a missing value."""
    if isinstance(value, str):
        text = value.strip()
        return None if text in missing else text
    return None if isinstance(value, float) and math.isnan(value) else value


def to_numbers(value: Any, column: dict[str, Any]) -> list[float]:
    """Turn a value into numbers: one, or the year and the cycles of a date.

    Raises:
        ValueError: If it is not what the column holds.
    """
    kind, form = column["type"], column["format"]
    if kind == "date":
        return _date(value, form, column["cycles"])
    if value is None:
        return [math.nan]
    if kind == "boolean":
        text = str(value).lower()
        if text not in (*TRUE, *FALSE):
            raise ValueError(f"holds {value!r}, which is neither true nor false")
        return [float(text in TRUE)]
    if isinstance(value, str):
        plain = re.sub(GROUPING[form], "", value).replace(",", ".") if form else value
        if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", plain):
            raise ValueError(f"holds {value!r}, which is not a number")
        value = plain
    elif isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise ValueError(f"holds {value!r}, which is not a number")
    if not math.isfinite(number := float(value)):
        raise ValueError(f"holds {value!r}, which is not a finite number")
    return [number]


def _date(value: Any, form: str, cycles: Sequence[str]) -> list[float]:
    """Return the year, and the part of each cycle that has passed, from 0 to 1."""
    if value is None:
        return [math.nan] * (1 + len(cycles))
    try:
        text = str(value)
        date = datetime.strptime(text, form) if form else datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"holds {value!r}, which is not a date such as {_example(form)}") from None
    parts = {
        "season": (date.timetuple().tm_yday - 1) / 365.25,
        "weekday": date.weekday() / 7,
        "hour": (date.hour + date.minute / 60) / 24,
    }
    return [float(date.year), *(parts[cycle] for cycle in cycles)]


def _example(form: str) -> str:
    return datetime(2026, 12, 31, 23, 59).strftime(form or "%Y-%m-%d")
