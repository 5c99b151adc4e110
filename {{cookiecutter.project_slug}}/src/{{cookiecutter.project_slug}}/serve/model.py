"""Find and open an exported model, and run it beside the event loop."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from anyio import CapacityLimiter, to_thread
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors

from ..engine.commands import PACKAGE, find_run
from ..engine.errors import InputError
from ..export.predict import InputError as RowError
from ..export.predict import Predictor
from .problems import Problem, Refused

RUN_ERRORS = (onnx_errors.Fail, onnx_errors.InvalidArgument, onnx_errors.RuntimeException)
Prediction = dict[str, Any]


def find_export(root: Path, name: str | None) -> Path:
    """Return the folder of an exported model.

    Args:
        root: Folder of the runs.
        name: A run's name, or the path of its folder or its export; by default the newest run.

    Raises:
        InputError: If there is no such run, or it is not exported.
    """
    if name is not None and Path(name, "model.json").exists():
        return Path(name)
    run = find_run(root, name)
    if not (run / "export" / "model.json").exists():
        raise InputError(f"{run} is not exported; first: python -m {PACKAGE}.export {run}")
    return run / "export"


def open_export(folder: Path) -> Predictor:
    """Open an exported model.

    Raises:
        InputError: If it is damaged, or another project's.
    """
    onnxruntime.set_default_logger_severity(4)  # the client is told when the model cannot take a row; the log is not
    try:
        predictor = Predictor(folder)
        project = predictor.about["project"]
    except Exception as error:  # ONNX Runtime raises almost anything
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"{folder} cannot be opened; export the run again ({reason})") from None
    if project != PACKAGE:
        raise InputError(f"{folder} was exported by the project {project}; serve it there")
    return predictor


class Model:
    """A model that predicts in threads, so that the event loop is free for other requests.

    Args:
        predictor: The exported model.
        example: A row; it is predicted once, which shows that the model works and what it returns.

    Attributes:
        about: The content of model.json.
        columns: What is predicted: values of the example by name.
    """

    def __init__(self, predictor: Predictor, example: Any) -> None:
        self.predictor = predictor
        self.about = predictor.about
        # More threads than cores would only share the cores and take more memory.
        self.limiter = CapacityLimiter(os.cpu_count() or 1)
        [self.columns] = self._predict([example])

    async def predict(self, rows: Sequence[Any]) -> list[Prediction]:
        """Predict for rows, all in one call.

        Raises:
            Refused: If a row cannot be used; it says which.
        """
        return await to_thread.run_sync(self._predict, rows, limiter=self.limiter)

    def _predict(self, rows: Sequence[Any]) -> list[Prediction]:
        try:
            columns = self.predictor.predict(rows)
        except RowError as error:
            row = error.row if len(rows) > 1 else None
            raise Refused([Problem(row=row, field=error.field, message=error.message)]) from None
        except RUN_ERRORS as error:
            reason = str(error).splitlines()[0]
            raise Refused([Problem(field="body", message=f"the model cannot take these values: {reason}")]) from None
        for name, values in columns.items():
            for number, value in enumerate(values, start=1):
                if isinstance(value, float) and not math.isfinite(value):
                    reason = "its prediction is not a finite number; a value of the row is too large"
                    raise Refused([Problem(row=number if len(rows) > 1 else None, field=name, message=reason)])
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
