"""Worker processes of dataloaders: how they end, and what one was loading when it died."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import torch
from lightning.fabric.utilities.seed import pl_worker_init_function
from torch.utils.data import get_worker_info

from .stop import SIGNALS


class Loading:
    """What each worker is loading, in memory that it shares with the training process.

    Args:
        workers: Number of worker processes.
    """

    def __init__(self, workers: int) -> None:
        self.table = torch.full((workers, 2), -1).share_memory_()  # number of a batch, and position in it

    def note(self, batch: int, position: int = -1) -> None:
        """Note, in a worker, what it begins to load: a whole batch, or the row at a position in it."""
        if info := get_worker_info():
            self.table[info.id, 0] = batch
            self.table[info.id, 1] = position

    def place(self, worker: int) -> tuple[int, int]:
        """Return the last note of a worker, -1 for none."""
        batch, position = self.table[worker].tolist()
        return batch, position


def dead(iterator: Any) -> list[int]:
    """Return the numbers of the workers of a dataloader's iterator that died, as by the kernel when memory is short."""
    workers = getattr(iterator, "_workers", [])
    for worker in workers:
        worker.join(0.1)  # its connection breaks before it is gone
    return [number for number, worker in enumerate(workers) if worker.exitcode not in (0, None)]


def report_death_to_loader() -> None:
    """Let a dataloader notice dead workers when it waits for them, within five seconds.

    PyTorch's signal handler raises wherever the training happens to be, even while another error is handled.
    """
    if hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():  # not on Windows
        handler = signal.getsignal(signal.SIGCHLD)
        if getattr(handler, "__module__", "").startswith("torch.utils.data"):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def start(start_more: Callable[[int], None] | None, worker: int) -> None:
    """Leave signals to the training process, which ends its workers, and end with it if it is killed."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start_more is None:
        pl_worker_init_function(worker, int(os.environ.get("LOCAL_RANK", 0)))
    else:
        start_more(worker)


def end_all() -> None:
    """End the workers that a failed run has left; they ignore the signal that Python sends them when it exits."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


def _end_with_parent() -> None:
    """Exit once the training process is gone; PyTorch notices that only for workers that were forked from it."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
