"""Export a trained model: write the files, check them, and only then put them in place."""

import json
import shutil
import tempfile
import warnings
from contextlib import redirect_stderr
from datetime import datetime
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

import onnx
import torch
from torch.export import Dim

from ..datamodule import LitDataModule
from ..engine.checkpoints import load_run
from ..engine.commands import PACKAGE
from ..engine.errors import InputError
from .adapter import LitAdapter
from .parity import ATOL, BATCH_SIZES, RTOL, check_parity
from .plain import Mismatch, PlainAdapter

FOLDER = "export"
PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime")


def export_run(folder: Path, check_rows: int) -> Path:
    """Export the best model of a run into its folder; an earlier export is replaced.

    Args:
        folder: The run's folder.
        check_rows: Number of rows of the validation data to check, at most.

    Returns:
        The folder of the export.

    Raises:
        InputError: If the model cannot be exported, or predicts something else after it.
    """
    run = load_run(folder)
    adapter: PlainAdapter = LitAdapter(run) if isinstance(run.datamodule, LitDataModule) else PlainAdapter(run)
    try:
        unfinished = Path(tempfile.mkdtemp(prefix=f".{FOLDER}-", dir=folder))
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        write_onnx(adapter, unfinished / "model.onnx")
        about = describe(adapter, unfinished / "model.onnx", folder.name)
        _write(about, unfinished)
        shutil.copy(Path(__file__).with_name("predict.py"), unfinished)
        parity = check_parity(adapter, unfinished, check_rows)
        about["parity"] = {
            **{"rows": parity.rows, "batch_sizes": BATCH_SIZES, "rtol": RTOL, "atol": ATOL},
            "largest_difference": parity.largest,  # as a fraction of rtol and atol
        }
        _write(about, unfinished)
        unfinished.chmod(0o755)  # of a temporary folder it is 700
        shutil.rmtree(folder / FOLDER, ignore_errors=True)
        unfinished.rename(folder / FOLDER)
    except Mismatch as error:
        raise InputError(f"the exported model differs from PyTorch, so nothing was written: {error}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    if adapter.note:
        print(adapter.note)
    print(
        f"ONNX Runtime agrees with PyTorch on {parity.rows:,} validation rows, in batches of "
        f"{', '.join(map(str, BATCH_SIZES))}; largest difference: {parity.largest:.1%} of what is tolerated"
    )
    return folder / FOLDER


def write_onnx(adapter: PlainAdapter, path: Path) -> None:
    """Write a model as ONNX, into a single file.

    Args:
        adapter: The trained model and its data.
        path: The file.

    Raises:
        InputError: If PyTorch cannot export it; the message says why.
    """
    batch = Dim("batch", min=1)
    shapes = tuple(
        {0: batch} | {axis: Dim(name, min=1, max=most) for axis, (name, most) in adapter.varying.get(key, {}).items()}
        for key in adapter.inputs
    )
    inputs = {name: tensor.clone() for name, tensor in adapter.inputs.items()}
    try:
        with torch.inference_mode():
            names = list(adapter.module.outputs(*inputs.values()))
        # PyTorch warns of its own graph, such as two inputs that share `batch`, and prints it where it fails.
        with warnings.catch_warnings(), redirect_stderr(StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                adapter.module.eval(),
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=names,
                # One tuple for a module that takes any number of tensors
                dynamic_shapes=(shapes,),
                dynamo=True,
                verbose=False,
            )
        assert program is not None
        program.save(path, external_data=False)
    except InputError:
        raise
    except Exception as error:  # what PyTorch raises depends on the model
        raise InputError(f"{type(adapter.model).__name__} cannot be exported: {_reason(error)}") from None


def describe(adapter: PlainAdapter, path: Path, run: str) -> dict[str, Any]:
    """Describe an exported model: the content of model.json.

    Args:
        adapter: The trained model and its data.
        path: The file of the model.
        run: Name of the run.

    Raises:
        InputError: If it takes batches of one size only.
    """
    graph = onnx.load(path, load_external_data=False).graph
    inputs = [_value(value) for value in graph.input]
    for given in inputs:
        if not isinstance(given["shape"][0], str):
            raise InputError(
                f"{type(adapter.model).__name__} cannot be exported: forward works for batches of {given['shape'][0]} "
                "rows only; use x.shape[0] instead of len(x), and no .tolist()"
            )
    return {
        "kind": adapter.kind,
        "project": PACKAGE,
        "run": run,
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "inputs": inputs,
        "outputs": [_value(value) for value in graph.output],
        **adapter.about,
        "versions": {name: version(name) for name in PACKAGES},
    }


def _value(value: Any) -> dict[str, Any]:
    kind = value.type.tensor_type
    shape = [size.dim_param or size.dim_value for size in kind.shape.dim]
    return {"name": value.name, "dtype": onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name, "shape": shape}


def _write(about: dict[str, Any], folder: Path) -> None:
    text = json.dumps(about, indent=2, ensure_ascii=False)
    (folder / "model.json").write_text(text + "\n", encoding="utf-8")


def _reason(error: BaseException) -> str:
    """Return the line of PyTorch's report that says what it cannot export."""
    while error.__cause__ is not None:
        error = error.__cause__
    if "data-dependent" in str(error):
        return "forward decides by the values of a tensor; use torch.where instead of if, and no .item()"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
