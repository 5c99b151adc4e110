"""`export`: the model outside of PyTorch predicts the same."""

import json
from pathlib import Path

import pytest
from conftest import error_line

from {{ cookiecutter.project_slug }}.train import main


def test_there_must_be_a_run_to_export(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxscript", reason="python -m pip install --group export")
    assert error_line(["export"], capsys) == "error: no run in runs yet; train first with `fit`"
    assert "--check_rows 0: must be 1 or more" in error_line(["export", "--check_rows", "0"], capsys)


@pytest.mark.slow
def test_the_exported_model_agrees_with_pytorch(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxscript", reason="python -m pip install --group export")
    main(["export"])
    assert capsys.readouterr().out.splitlines()[-1] == str(trained / "export")
    about = json.loads((trained / "export" / "model.json").read_text(encoding="utf-8"))
    assert about["parity"]["rows"] > 0
    assert {path.name for path in (trained / "export").iterdir()} == {"model.onnx", "model.json", "predict.py"}


def test_checked_rows_are_evenly_spaced() -> None:
    pytest.importorskip("onnxruntime", reason="python -m pip install --group export")
    from {{ cookiecutter.project_slug }}.export.plain import spaced

    assert spaced(10, 4).tolist() == [0, 3, 6, 9]
    assert spaced(3, 9).tolist() == [0, 1, 2]
    assert spaced(0, 9).tolist() == []
    assert spaced(10**9, 2).tolist() == [0, 10**9 - 1]


def test_another_prediction_is_a_mismatch() -> None:
    pytest.importorskip("onnxruntime", reason="python -m pip install --group export")
    from {{ cookiecutter.project_slug }}.export.parity import compare
    from {{ cookiecutter.project_slug }}.export.plain import Mismatch, Sample

    sample = Sample([0, 1], {"class": ["a", "b"], "probability_a": [0.9, 0.2], "probability_b": [0.1, 0.8]})
    assert compare(sample, sample.expected, {}) == 0
    assert compare(sample, sample.expected | {"probability_a": [0.90001, 0.2]}, {}) < 1
    with pytest.raises(Mismatch, match=r"probability_a of row 2 is 0.3 instead of 0.2"):
        compare(sample, sample.expected | {"probability_a": [0.9, 0.3]}, {})
    with pytest.raises(Mismatch, match="class of row 1 is 'b' instead of 'a'"):
        compare(sample, sample.expected | {"class": ["b", "b"]}, {})
