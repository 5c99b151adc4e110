class InputError(ValueError):
    """A value cannot be used.

    Attributes:
        message: What is wrong, in one line.
        field: The column, option or input it is in, if it is in one.
        row: Number of its row, counted from 1, if there are several.
    """

    def __init__(self, message: str, field: str | None = None, row: int | None = None) -> None:
        where = [f"row {row}"] if row else []
        super().__init__(": ".join([*where, *([field] if field else []), message]))
        self.message = message
        self.field = field
        self.row = row


NO_ARRAY = (TypeError, ValueError, OverflowError)  # raised by NumPy for rows that are none


def open_model(folder: Path | str) -> tuple[dict[str, Any], onnxruntime.InferenceSession]:
    """Read model.json, and open model.onnx."""
    about = json.loads(Path(folder, "model.json").read_text(encoding="utf-8"))
    return about, onnxruntime.InferenceSession(Path(folder, "model.onnx"), providers=["CPUExecutionProvider"])


def run(predictor: Predictor, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run the model on a batch: arrays (batch, ...) by name, to outputs of the same form."""
    names = [output["name"] for output in predictor.about["outputs"]]
    return dict(zip(names, predictor.session.run(names, inputs), strict=True))


def predict_in_batches(predictor: Predictor, rows: Sequence[Any], batch_size: int) -> dict[str, list[Any]]:
    """Predict for rows, some at a time, and return columns by name."""
    columns: dict[str, list[Any]] = {}
    for start in range(0, len(rows), batch_size):
        outputs = run(predictor, predictor.encode(rows[start : start + batch_size], start + 1))
        for name, values in predictor.decode(outputs).items():
            columns.setdefault(name, []).extend(values)
    return columns


def stack(rows: Sequence[dict[str, Any]], about: dict[str, Any]) -> dict[str, np.ndarray]:
    """Stack rows for a model of plain arrays.

    Args:
        rows: Arrays, or nested lists, by name of the input, without the batch dimension.
        about: The content of model.json.

    Raises:
        InputError: If an input is absent, or has another shape.
    """
    inputs = {}
    for given in about["inputs"]:
        name, shape = given["name"], tuple(given["shape"][1:])
        try:
            array = np.array([row[name] for row in rows], dtype=given["dtype"])
        except KeyError:
            raise InputError("no such input in the data", name) from None
        except NO_ARRAY:
            raise InputError(f"must hold numbers of shape {shape}", name) from None
        if array.shape[1:] != shape:
            raise InputError(f"has shape {array.shape[1:]}; the model takes {shape}", name)
        inputs[name] = array
    return inputs


def read_arrays(paths: Sequence[str]) -> list[dict[str, Any]]:
    """Read the rows of .npz files, which hold an array (rows, ...) for every input."""
    rows: list[dict[str, Any]] = []
    for path in paths:
        with np.load(path, allow_pickle=False) as arrays:
            names, columns = list(arrays), [arrays[name] for name in arrays]
        rows += [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return rows


def plain_columns(outputs: dict[str, np.ndarray]) -> dict[str, list[Any]]:
    """Turn outputs into columns of plain numbers, one for every number in a row."""
    columns: dict[str, list[Any]] = {}
    for name, output in outputs.items():
        flat = output.reshape(len(output), -1)
        names = [name] if flat.shape[1] == 1 else [f"{name}_{number}" for number in range(flat.shape[1])]
        columns |= dict(zip(names, flat.T.tolist(), strict=True))
    return columns


def main(args: Sequence[str]) -> None:
    """Write predictions as CSV to the standard output.

    Args:
        args: See the top of this file.
    """
    try:
        if not args:
            raise InputError("name what to predict; the top of this file says how")
        predictor = Predictor(Path(__file__).parent)
        columns = predictor.predict(predictor.read(args))
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["row", *columns])
        writer.writerows([row, *values] for row, values in enumerate(zip(*columns.values(), strict=True), start=1))
        sys.stdout.flush()
    except BrokenPipeError:  # what reads the output has closed it, such as `head`
        # At exit Python flushes again: https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
