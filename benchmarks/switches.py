"""What the rendered projects do for speed and safety, one switch at a time put back to what stock Lightning does.

A switch patches the program before any part of it is made. Its ratio, the time with it over the time without, is what
the trick is worth; `speed.py` measures those in TRICKS.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import RichProgressBar


class Trick(NamedTuple):
    """A trick, and how to do without.

    Args:
        what: What it is, for the table.
        cases: Cases of cases.py to measure it on.
        patch: Puts it back to what stock Lightning does.
    """

    what: str
    cases: tuple[str, ...]
    patch: Callable[[], None]


class Nothing(Callback):
    """Stands for a callback that is left out."""

    def __init__(self, *args: object) -> None:
        pass


def _cli() -> Any:
    from speed_project.engine import cli

    return cli


def stock_loop() -> None:
    """Train by Lightning's own loop."""
    _cli().training_loop.install = lambda trainer: None


def stock_log() -> None:
    """Let Lightning check every logged value."""
    from speed_project.engine import training_loop

    training_loop.StepLog = lambda trainer, results: trainer.lightning_module.log
    training_loop.Results.log_again = lambda *args: False


def stock_optimizer() -> None:
    """Leave optimizers as PyTorch chooses them."""
    _cli().FusedOptimizer = Nothing


def stock_batches() -> None:
    """Row numbers from a sampler, and rows collated one by one."""
    from speed_project.data import batches
    from torch.utils.data import DataLoader, TensorDataset

    def loader(*tensors: Any, batch_size: int, shuffle: bool = False, **of: Any) -> Any:
        return DataLoader(TensorDataset(*tensors), batch_size=batch_size, shuffle=shuffle)

    batches.batches = loader
    from speed_project.engine import replay

    replay._TensorRows.of = lambda dataset: None
    replay._is_permutation = lambda sampler: False


def small_evaluation() -> None:
    """Validate in batches of the size of training batches."""
    from speed_project.data import batches

    batches.EVALUATION_ROWS = 0


def stock_bar() -> None:
    """Update the progress bar at every batch."""
    _cli().progress_bar = RichProgressBar


def same_batches() -> None:
    """Draw the batches as stock Lightning and a loop by hand do, from the global generator."""
    _cli().Replay = Nothing
    _cli().Health = Nothing  # it asks Replay for the rows of a batch


def without_resume() -> None:
    """Leave out everything that makes a killed run resumable."""
    cli = _cli()
    cli.Replay = cli.Health = cli.StopOnSignal = Nothing
    cli.DurableCheckpointIO = TorchCheckpointIO


TRICKS = {
    "loop": Trick("a training loop without hooks that nobody implements", ("regression", "classification"), stock_loop),
    "log": Trick("`self.log` checks its arguments once", ("regression", "classification"), stock_log),
    "fused": Trick("fused optimizers", ("classification", "image_classification", "language_model"), stock_optimizer),
    "batches": Trick("batches are slices of one permutation", ("regression", "rows_100000"), stock_batches),
    "evaluation": Trick("larger batches without gradients", ("regression", "rows_100000"), small_evaluation),
    "bar": Trick(
        "a progress bar that is updated ten times a second", ("regression", "image_classification"), stock_bar
    ),
}
MORE = {"same_batches": same_batches, "resume": without_resume}


def apply(name: str) -> None:
    """Put a trick back."""
    (TRICKS[name].patch if name in TRICKS else MORE[name])()
