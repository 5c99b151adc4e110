"""Check an exported model against PyTorch: from raw input to decoded prediction."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .plain import Columns, Mismatch, PlainAdapter, Sample
from .predict import Predictor

BATCH_SIZES = (1, 2, 17)  # 1 is special-cased by many exporters, 17 is no power of 2
RTOL, ATOL = 1e-4, 1e-5


class Parity(NamedTuple):
    """How well an exported model agrees with PyTorch.

    Attributes:
        rows: Rows of the validation data that were compared.
        largest: Largest difference of a number, as a fraction of what is tolerated.
    """

    rows: int
    largest: float


def check_parity(adapter: PlainAdapter, folder: Path, most: int) -> Parity:
    """Compare an exported model with PyTorch on the validation data.

    Args:
        adapter: The trained model and its data.
        folder: Folder of the exported model.
        most: Number of rows at most.

    Raises:
        Mismatch: If they differ by more than the tolerance, or in a class.
    """
    predictor = Predictor(folder)
    rows, largest = 0, 0.0
    for sample in adapter.samples(most):
        for size in BATCH_SIZES:
            try:
                found = adapter.predict(predictor, sample.rows, size)
            except Exception as error:  # ONNX Runtime's have no class in common
                reason = str(error).rpartition(" : ")[2].splitlines()[0]
                raise Mismatch(f"in batches of {size}: {reason}") from None
            largest = max(largest, compare(sample, found, adapter.scales, f"in batches of {size}", rows))
        rows += len(sample.rows)
    adapter.check(predictor)
    if not rows:
        raise Mismatch("there are no rows to compare")
    return Parity(rows, largest)


def compare(sample: Sample, found: Columns, scales: Mapping[str, float], where: str = "", first: int = 0) -> float:
    """Compare predicted columns.

    Args:
        sample: Rows and what is expected for them.
        found: What was predicted instead.
        scales: Sizes of a typical difference by column, 1 by default.
        where: For the message: how they were predicted.
        first: Rows before these.

    Returns:
        The largest difference as a fraction of what is tolerated.

    Raises:
        Mismatch: If a number differs by more than that, or a text at all.
    """
    expected = sample.expected
    if list(expected) != list(found):
        raise Mismatch(f"{where}: columns {list(found)} instead of {list(expected)}")
    numbers = [name for name, values in expected.items() if not isinstance(values[0], str)]
    largest = 0.0
    for name in numbers:
        wanted, got = np.array(expected[name], dtype=np.float64), np.array(found[name], dtype=np.float64)
        same = (wanted == got) | (np.isnan(wanted) & np.isnan(got))
        tolerated = ATOL * scales.get(name, 1.0) + RTOL * np.abs(wanted)
        difference = np.where(same, 0.0, np.nan_to_num(np.abs(got - wanted) / tolerated, nan=np.inf))
        worst = np.unravel_index(difference.argmax(), difference.shape)
        if difference[worst] > 1:
            row = first + int(worst[0]) + 1
            raise Mismatch(f"{where}: {name} of row {row} is {got[worst]:.8g} instead of {wanted[worst]:.8g}")
        largest = max(largest, float(difference[worst]))
    for name in [name for name in expected if name not in numbers]:
        for row, (text, other) in enumerate(zip(expected[name], found[name], strict=True)):
            best, second, *_ = sorted((expected[number][row] for number in numbers), reverse=True)
            # Either of two classes may be named if they are equally likely.
            if text != other and best - second > 2 * (ATOL + RTOL * best):
                raise Mismatch(f"{where}: {name} of row {first + row + 1} is {other!r} instead of {text!r}")
    return largest
