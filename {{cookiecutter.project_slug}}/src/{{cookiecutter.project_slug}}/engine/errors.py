"""What is the user's to mend."""


class InputError(ValueError):
    """A file, column, value or option cannot be used; the message says which, and what to do."""


def require_positive(part: str, **values: float | None) -> None:
    """Refuse settings of which no model and no batch can be made.

    Args:
        part: Whose settings they are, `model` or `data`, as on the command line.
        values: The settings by name; None is left alone.

    Raises:
        InputError: If one is not above 0.
    """
    for name, value in values.items():
        if value is not None and value <= 0:
            raise InputError(f"--{part}.{name} {value}: it must be above 0")
