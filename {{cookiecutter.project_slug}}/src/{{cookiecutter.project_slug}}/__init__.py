{% from "macros.jinja" import docstring %}
"""The math is in `module`, the data in `datamodule`, the command line in `train`; `load_run` loads a trained model.

{{ docstring(cookiecutter.description) }}
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine.checkpoints import load_run as load_run


def __getattr__(name: str) -> Any:
    """Import `load_run` on first use, so that importing the package does not import PyTorch."""
    if name == "load_run":
        from .engine.checkpoints import load_run

        return load_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
