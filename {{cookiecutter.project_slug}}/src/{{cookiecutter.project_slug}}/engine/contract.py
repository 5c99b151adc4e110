"""What the engine asks of a datamodule beyond Lightning's own hooks. All of it is optional."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class DecodesPredictions(Protocol):
    """A datamodule that turns predictions into named columns, such as class names.

    Without it, `predictions.csv` and `load_run(...).predict()` hold the plain numbers of `predict_step`.
    Pictures that need more than numbers are drawn by `report.py`, which knows the project's own datamodule.
    """

    def decode(self, prediction: Any, rows: Sequence[int]) -> dict[str, list[Any]]:
        """Decode the prediction for one batch.

        Args:
            prediction: What `predict_step` returned.
            rows: Positions of the batch in the predict dataset, counted from 0.

        Returns:
            Columns by name, each with one value per row.
        """
        ...


@runtime_checkable
class DescribesColumns(Protocol):
    """A datamodule of tables that says how it uses each column. Its description is written to `columns.csv`."""

    def describe_columns(self) -> dict[str, list[Any]]:
        """Describe the columns.

        Returns:
            Columns of a table by name, each with one value per column of the data.
        """
        ...


@runtime_checkable
class NamesRows(Protocol):
    """A datamodule that can say where the rows of its training data come from, for messages about a sick batch."""

    def name_rows(self, rows: Sequence[int]) -> list[str]:
        """Name rows by their place in the user's files.

        Args:
            rows: Positions in the training dataset, counted from 0.
        """
        ...


@runtime_checkable
class NeverRandom(Protocol):
    """A dataset that draws no random numbers, and so needs no seed for every batch, which takes 0.1 ms.

    If it has `__getitems__`, that gets the rows of a batch as a list, or as int64 of shape (batch,).
    """

    never_random: bool


@runtime_checkable
class DescribesData(Protocol):
    """A datamodule that says which data it holds. Its description is written to `run.json`.

    Without it, the rows of the training and validation datasets are counted.
    """

    def describe_data(self) -> dict[str, Any]:
        """Describe the data, once they are set up to train.

        Returns:
            Plain values: at best the sources with a hash of their content (`data/fingerprint.py`), and the rows of
            every split.
        """
        ...
