"""The arithmetic of scale for the project's own model and batch, as tables and as plain values."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from . import arithmetic
from .arithmetic import Load
from .findings import Finding, grid, size, time
from .machine import gpu_memory, write_speed
from .project import Measured

GB = 10**9
DEFAULT_MEMORY = 80 * GB
SHORTEST_WRITE = 0.01  # seconds: a file is opened, synchronized and renamed, however small it is
MACHINE = 8  # devices within which tensor parallel is fast: those of one machine


@dataclass(frozen=True)
class Assumed:
    """What is not measured here.

    Attributes:
        memory: Bytes of memory of a device.
        days_between_failures: Mean days between failures of one device.
        write_speed: Bytes per second at which a checkpoint is written.
        where: Where each of them is from.
    """

    memory: int
    days_between_failures: float
    write_speed: float
    where: str


@dataclass(frozen=True)
class Saving:
    """When to save, in seconds.

    Attributes:
        between_failures: Mean time between failures.
        write: How long training waits for a checkpoint.
        interval: Between two checkpoints.
        lost_share: Share of the time that checkpoints and failures cost.
    """

    between_failures: float
    write: float
    interval: float
    lost_share: float


def summary(measured: Measured, available: int | None) -> list[Finding]:
    """Say what a run trains on, and what a step takes on one device.

    Args:
        measured: A few steps.
        available: Bytes of memory that a step may take on a CPU; None where the system does not say.
    """
    sizes = measured.sizes
    load = arithmetic.single(sizes)
    rows = "rows cannot be counted" if measured.rows is None else f"{measured.rows:,} training rows"
    epoch = _or_unknown(_epoch(measured, 1)["steps_per_epoch"])
    parts = [
        *(f"{size(sizes.parameters)} of parameters", f"{size(sizes.gradients)} of gradients"),
        *(f"{size(sizes.optimizer)} of {measured.optimizer}", f"{size(sizes.activations)} of activations"),
    ]
    on = f"on {measured.device} in {measured.precision}"
    do = ""
    room = gpu_memory() if measured.device == "cuda" else available if measured.device == "cpu" else None
    if room is not None and load.memory > 0.9 * room:
        do = "smaller batches and --trainer.accumulate_grad_batches, or configs/strategy/fsdp.yaml; see docs/scaling.md"
    return [
        Finding("data", f"{rows}, {measured.batch_size} in a batch, {epoch} steps per epoch on one device"),
        Finding("model", f"{measured.parameters:,} parameters"),
        Finding("step", f"{time(measured.seconds)} {on}, {size(load.memory)}: {', '.join(parts)}", do),
    ]


def assume(root: Path, memory: float | None, days: float | None, speed: float | None) -> Assumed:
    """Fill in what was not given.

    Args:
        root: Folder of the runs.
        memory: Memory of a device in GB.
        days: Mean days between failures of one device.
        speed: GB per second at which a checkpoint is written.

    Raises:
        InputError: If nothing can be written to the folder.
    """
    here = gpu_memory()
    given_memory = memory * GB if memory else here or DEFAULT_MEMORY
    of = "given" if memory else "of the GPU here" if here else "of an A100 or H100"
    given_days = days or arithmetic.DAYS_BETWEEN_FAILURES
    source = "given" if days else "as in Llama 3's training"
    given_speed = speed * GB if speed else write_speed(root)
    written = "given" if speed else f"measured in {root}, by one process"
    parts = (
        f"{size(given_memory)} of memory per device ({of})",
        f"{given_days:,.0f} days between failures of a device ({source})",
        f"a checkpoint is written at {size(given_speed)}/s ({written})",
    )
    return Assumed(int(given_memory), given_days, given_speed, ", ".join(parts))


@dataclass(frozen=True)
class Plan:
    """What training takes on several numbers of devices.

    Attributes:
        measured: The model and a batch.
        counts: Numbers of devices.
        assumed: What is not measured here.
    """

    measured: Measured
    counts: Sequence[int]
    assumed: Assumed

    def loads(self, devices: int) -> list[Load]:
        """List what every strategy that this model can use takes on n devices."""
        sizes = self.measured.sizes
        if devices == 1:
            return [arithmetic.single(sizes)]
        found = [arithmetic.ddp(sizes, devices), arithmetic.fsdp(sizes, devices)]
        within = min(MACHINE, devices)
        if sizes.block_outputs and devices % within == 0:
            found.append(arithmetic.tensor_parallel(sizes, devices, within))
        return found

    def saving(self, devices: int) -> Saving:
        """Return when to save on n devices, and what that costs."""
        failing = arithmetic.seconds_between_failures(devices, self.assumed.days_between_failures)
        write = max(SHORTEST_WRITE, self.measured.sizes.checkpoint / self.assumed.write_speed)
        interval = arithmetic.save_interval(write, failing)
        return Saving(failing, write, interval, arithmetic.lost_share(interval, write, failing))

    def tables(self) -> list[Table]:
        """Make the tables: the model, the strategies, the epochs and the checkpoints."""
        measured, sizes, memory = self.measured, self.measured.sizes, self.assumed.memory
        model = [
            ("parameters", f"{measured.parameters:,}, {size(sizes.parameters)}"),
            ("gradients", size(sizes.gradients)),
            ("optimizer state", f"{size(sizes.optimizer)}, {measured.optimizer}"),
            ("activations of a batch", f"{size(sizes.activations)}, {measured.batch_size} rows, {measured.precision}"),
            ("largest unit of FSDP", size(sizes.largest_unit)),
            ("checkpoint", size(sizes.checkpoint)),
        ]
        strategies = [
            (f"{count:,}", load.strategy, size(load.memory), "yes" if load.memory < memory else "no", _sent(load))
            for count in self.counts
            for load in self.loads(count)
        ]
        epochs = []
        for count in self.counts:
            epoch, saving = _epoch(measured, count), self.saving(count)
            lost = f"{100 * saving.lost_share:.2g} %" if saving.lost_share >= 0.001 else "< 0.1 %"
            times = map(time, (saving.between_failures, saving.write, saving.interval))
            steps = _or_unknown(epoch["steps_per_epoch"])
            epochs.append((f"{count:,}", f"{epoch['global_batch']:,}", steps, *times, lost))
        names = ("devices", "strategy", "memory each", f"fits in {size(memory)}", "sent per step each")
        every = ("a failure every", "writing takes", "save every", "lost")
        epoch_names = ("devices", "global batch", "steps per epoch", *every)
        return [
            grid(model, "model", f"measured on {measured.device}", title="The model"),
            grid(strategies, *names, title="Strategies, computed"),
            grid(epochs, *epoch_names, title="Epochs and checkpoints, computed"),
        ]

    def notes(self) -> list[str]:
        """Say where the data end, and what is assumed."""
        measured, lines = self.measured, []
        if measured.rows is not None:
            most = arithmetic.most_devices(measured.rows, measured.batch_size, measured.accumulate)
            rows = f"{measured.rows:,} rows in batches of {measured.batch_size * measured.accumulate}"
            lines.append(f"{rows}: from {most:,} devices on, an epoch is a single step")
        if max(self.counts) > 1:
            lines.append("Memory under fsdp and tensor parallel is the least it takes: copies come on top")
        text = f"Assumed: {self.assumed.where}. A restart after a failure comes on top. See docs/scaling.md."
        return [*lines, text]

    def as_plain(self) -> dict[str, Any]:
        """Return the same numbers as plain values; times are in seconds."""
        sizes = self.measured.sizes
        return {
            "parameters": self.measured.parameters,
            "bytes": asdict(sizes) | {"checkpoint": sizes.checkpoint},
            "assumed": asdict(self.assumed),
            "devices": [
                {
                    "devices": count,
                    **_epoch(self.measured, count),
                    "saving": asdict(self.saving(count)),
                    "strategies": [asdict(load) for load in self.loads(count)],
                }
                for count in self.counts
            ],
        }


def _epoch(measured: Measured, devices: int) -> dict[str, Any]:
    accumulate, steps = measured.accumulate, None
    if measured.rows is not None:
        steps = arithmetic.steps_per_epoch(measured.rows, measured.batch_size, devices, accumulate)
    return {"global_batch": measured.batch_size * accumulate * devices, "steps_per_epoch": steps}


def _or_unknown(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"


def _sent(load: Load) -> str:
    return size(load.sent) if load.sent else "nothing"
