"""The command line: train, validate, test and predict.

    python -m {{ cookiecutter.project_slug }}.train fit
    python -m {{ cookiecutter.project_slug }}.train fit --trainer.max_epochs 3
    python -m {{ cookiecutter.project_slug }}.train validate | test | predict

It is LightningCLI with its pitfalls fixed; see `engine/cli.py`.
"""

from .engine.commands import run_command
from .engine.startup import answer_at_once, quick_imports

# Facts about the data that the model is built with: attributes of the datamodule, arguments of the model.
FACTS = {% include "task/" ~ cookiecutter.task ~ "/facts.txt" %}


def main(args: list[str] | None = None) -> None:
    """Run the command line.

    Args:
        args: The subcommand and its options; by default those of the process.
    """
    if run_command(args):
        return
    answer_at_once(args)
    with quick_imports():  # of PyTorch and Lightning, some seconds
        from .engine.cli import run_cli
        from .report import LitReport
    run_cli(args, facts=FACTS, callbacks=[LitReport()])


if __name__ == "__main__":
    main()
