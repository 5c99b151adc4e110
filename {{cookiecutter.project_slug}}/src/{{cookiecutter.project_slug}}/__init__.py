{% from "macros.jinja" import docstring %}
"""The math is in `module`, the data in `datamodule`, the command line in `train`, and what it trained in `load_run`.

{{ docstring(cookiecutter.description) }}
"""

from .engine.runs import load_run as load_run
