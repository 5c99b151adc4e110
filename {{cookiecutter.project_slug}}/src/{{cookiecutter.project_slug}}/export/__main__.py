"""Export a run's best model to ONNX, and check it against PyTorch.

    python -m {{ cookiecutter.project_slug }}.export               # the newest run
    python -m {{ cookiecutter.project_slug }}.export runs/first

It writes into the run's folder:

    export/model.onnx    the model, with the numeric part of its preprocessing
    export/model.json    its inputs and outputs, and the rest of the preprocessing
    export/predict.py    predicts with both, without PyTorch: python runs/first/export/predict.py new.csv
"""

from pathlib import Path

from ..engine.commands import CommandParser, errors_in_one_line, find_run, require_group


def main(args: list[str] | None = None) -> None:
    """Export a run.

    Args:
        args: The command line; by default that of the process.
    """
    parser = CommandParser("Export a run's best model to ONNX, and check it against PyTorch.")
    parser.add_argument("run", nargs="?", help="The run: its name, or the path of its folder (default: the newest).")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="Folder of the runs (default: runs).")
    parser.add_argument(
        "--check_rows", type=int, default=20_000, help="Rows of the validation data to check, at most (default: 20000)."
    )
    given = parser.parse_args(args)
    if given.check_rows < 1:
        parser.error(f"--check_rows {given.check_rows}: must be 1 or more")
    with errors_in_one_line():
        require_group("export", "onnx", "onnxruntime", "onnxscript")
        folder = find_run(given.root, given.run)
        from .exporting import export_run  # which imports PyTorch

        print(export_run(folder, given.check_rows))


if __name__ == "__main__":
    main()
