"""Numbers from a CSV or Parquet file, or one clear sentence about why not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from .errors import InputError


def column_names(path: str) -> list[str]:
    """Read the header of a CSV or Parquet file.

    Raises:
        InputError: If the file cannot be read.
    """
    with _one_clear_line(path):
        return _scan(path).collect_schema().names()


def read_columns(path: str, names: list[str]) -> Tensor:
    """Read the named columns as float32, of shape (rows, len(names)).

    Raises:
        InputError: If the file cannot be read, or a column is missing or holds anything but finite numbers.
    """
    present = column_names(path)
    for name in names:
        if name not in present:
            raise InputError(f"{path} has no column '{name}'; it has: {', '.join(present)}")
    with _one_clear_line(path):
        table = _scan(path).select(names).collect()
    if table.is_empty():
        raise InputError(f"{path} has a header but no rows")
    return torch.stack([_numbers(path, column) for column in table], dim=1)


def _scan(path: str) -> pl.LazyFrame:
    match Path(path).suffix.lower():
        case ".csv":
            return pl.scan_csv(path, infer_schema_length=None)  # types judged by every row, not by the first
        case ".parquet":
            return pl.scan_parquet(path)
    raise InputError(f"{path}: the name of a table ends in .csv or .parquet")


@contextmanager
def _one_clear_line(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except pl.exceptions.NoDataError:
        raise InputError(f"{path} is empty") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def _numbers(path: str, column: pl.Series) -> Tensor:
    if column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.String):
        numbers = column.cast(pl.Float64, strict=False)
    else:
        numbers = pl.repeat(None, len(column), dtype=pl.Float64, eager=True)  # dates, lists and the like
    unusable = ~numbers.is_finite().fill_null(False)
    if (row := unusable.arg_max()) is not None and unusable[row]:
        value = "nothing" if column[row] is None else repr(column[row])
        raise InputError(
            f"{path}: column '{column.name}' must hold numbers, but row {row + 1} holds {value}: "
            "mend it, or choose other columns with --data.features"
        )
    return torch.from_numpy(numbers.to_numpy().astype("float32"))
