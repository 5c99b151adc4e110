"""The one exception that is the user's to mend."""


class InputError(ValueError):
    """A file, column, value or option cannot be used; the message says which, and what to do."""
