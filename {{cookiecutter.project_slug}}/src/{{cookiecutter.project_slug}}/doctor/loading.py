"""How many worker processes pay, measured on the project's own training data."""

import time as clock
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from ..engine import workers as processes
from ..engine.errors import InputError
from .findings import Finding, figure, size, time
from .machine import Cores, shared_memory
from .project import Measured, rebuilt

ROUNDS = 3
WINDOW = 0.25  # seconds of each number of workers in a round
LONGEST = 20.0  # seconds after which no further number is tried
LONGEST_REST = 1.0  # seconds
PREFETCHED = 2  # batches that a worker has ready
WORTHWHILE = 0.95  # of the time with fewer workers: less is worth their memory
RESTING = 0.1  # share of a step below which loading is not worth a process

Batches = Iterator[Any]


def check_loading(measured: Measured, cores: Cores) -> list[Finding]:
    """Measure the batches per second with 0, 1, 2, 4, ... workers, and say how many pay beside a step.

    Args:
        measured: The steps of training before.
        cores: Cores that this process may use; more workers are not tried.
    """
    loader = measured.loader
    if rebuilt(loader, 0) is None:
        found = f"{type(loader).__name__} is no plain DataLoader: the number of its workers is its own matter"
        return [Finding("workers", found)]
    try:
        seconds = measure_loading(lambda count: endless(rebuilt(loader, count)), counts_up_to(cores.usable))
    except InputError as error:
        return [Finding("workers", "loading fails", str(error), fatal=True)]
    finally:
        processes.end_all()
    best = best_number(seconds, measured.seconds)
    here = getattr(loader, "num_workers", 0)
    rates = ", ".join(f"{count}: {figure(1 / each)}" for count, each in seconds.items())
    sliced = " (sliced from memory by the training process)" if rebuilt(loader, 0).slices else ""
    found = f"batches per second by number of workers, measured: {rates}; fit uses {here}{sliced}"
    found += f"; a step takes {time(measured.seconds)}, loading a batch without workers {time(seconds[0])}"
    do = "" if best == here else advice(measured, best)
    findings = [Finding("workers", found, do)]
    if shm := shared_memory(max(best, here) * PREFETCHED * measured.batch_bytes):
        findings.append(shm)
    return findings


def counts_up_to(cores: int) -> list[int]:
    """List 0, 1, 2, 4, ... and the number of cores."""
    powers = [1 << power for power in range(cores.bit_length()) if 1 << power < cores]
    return [0, *powers, cores]


def measure_loading(start: Callable[[int], Batches], counts: Sequence[int], window: float = WINDOW) -> dict[int, float]:
    """Return the median seconds per batch for each number of workers, in rounds, so that a slow moment hits all.

    What workers have ready before a window is not counted in it.

    Args:
        start: Starts to load with a number of workers.
        counts: Numbers of workers.
        window: Seconds for each number in a round.
    """
    began = clock.perf_counter()
    loading: dict[int, Batches] = {}
    for count in counts:
        if count > 1 and clock.perf_counter() - began > LONGEST:
            break
        loading[count] = start(count)
        next(loading[count])  # workers are ready with their first batch
    taken: dict[int, list[float]] = {count: [] for count in loading}
    for _ in range(ROUNDS):
        for count, batches in loading.items():
            for _ in range(count * PREFETCHED):
                next(batches)
            first, loaded = clock.perf_counter(), 0
            while not loaded or clock.perf_counter() - first < window:
                next(batches)
                loaded += 1
            taken[count].append((clock.perf_counter() - first) / loaded)
            clock.sleep(min(LONGEST_REST, count * PREFETCHED * taken[count][-1]))  # until its workers have caught up
    return {count: median(each) for count, each in taken.items()}


def best_number(loading: dict[int, float], step: float) -> int:
    """Return the number of workers that makes a step the shortest; fewer where it is about the same.

    Without workers, loading and computing take turns; with them, the slower one decides.

    Args:
        loading: Seconds per batch by number of workers.
        step: Seconds to compute a step.
    """
    if loading[0] < RESTING * step:
        return 0
    total = {count: seconds + step if count == 0 else max(seconds, step) for count, seconds in loading.items()}
    fastest = min(total.values())
    return next(count for count, seconds in total.items() if seconds * WORTHWHILE <= fastest)


def advice(measured: Measured, best: int) -> str:
    """Say how to set the number of workers."""
    memory = f"; each holds {size(PREFETCHED * measured.batch_bytes)} of batches" if best else ""
    shared = "; on a CPU they share the cores with the training" if best and measured.device == "cpu" else ""
    if hasattr(measured.project.datamodule, "num_workers"):
        return f"--data.num_workers {best}{memory}{shared}"
    return f"DataLoader(..., num_workers={best}) in train_dataloader{memory}{shared}"


def endless(loader: Any) -> Batches:
    """Load one epoch after another.

    Raises:
        InputError: If there is no batch.
    """
    while True:
        batch = None
        for batch in loader:
            yield batch
        if batch is None:
            raise InputError("the training data have no batch")
