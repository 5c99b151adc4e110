"""Training that can be resumed exactly: its batches and its random numbers.

A training batch depends on the seed, the epoch and its number alone: not on what was loaded before, nor on the number
of worker processes. So a resumed run starts an epoch at the batch that is due, and loads nothing to skip it. This
holds for any DataLoader with a sampler. Other iterables are read up to the batch that is due; workers that load them
must not be persistent, since their random numbers outlive an epoch.

What a dataset, sampler or collate function draws from the global generators of Python, NumPy and PyTorch is replayed. A
generator that they keep to themselves is not, except a sampler's or a DataLoader's `generator`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice
from typing import Any, NamedTuple

import torch
from lightning.fabric.utilities.data import sized_len
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)
from torch.utils.data.distributed import DistributedSampler

from . import epoch_metrics, hardware, workers
from .contract import NamesRows, NeverRandom
from .errors import InputError, listed
from .processes import gather
from .random_state import random_state, seed_anew, seed_of, seeded, set_random_state

REPLAY = "replay"  # where a checkpoint keeps, for every process, what this module needs
# Samplers that draw everything before their first number.
DRAW_AT_START = (
    SequentialSampler,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    DistributedSampler,
)


class Position(NamedTuple):
    """How far the training is: complete epochs, and complete batches of the next one."""

    epoch: int
    batches: int


class Replay(Callback):
    """Make the training dataloaders resumable, and call `on_step_boundary(trainer)` of every callback that has it.

    At a step boundary, everything of the last step is complete, validation included, and nothing of the next one has
    begun. It is the place for checkpoints. Validation does not change the random numbers of the training.
    """

    seed: int
    resumed = Position(0, 0)
    _saved: dict[str, Any] | None = None  # of the checkpoint, until training has reached its first step boundary
    _last_boundary: Position | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self.trainer = trainer
        self.seed = trainer.strategy.broadcast(torch.initial_seed())
        self._at_boundary = [
            act
            for callback in trainer.callbacks  # type: ignore[attr-defined]
            if (act := getattr(callback, "on_step_boundary", None))
        ]
        strategy: Any = trainer.strategy
        process = strategy.process_dataloader

        def make_resumable(loader: Any) -> Any:
            loader = process(loader)
            hardware.pin_batches(trainer, loader)
            if trainer.training:
                return ReplayLoader(loader, self)
            if isinstance(loader, DataLoader) and loader.generator is None:
                loader.generator = torch.Generator()  # for the seed of its workers, instead of the training's
                loader.worker_init_fn = partial(workers.start, loader.worker_init_fn)
            return loader

        strategy.process_dataloader = make_resumable

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        own = {
            "seed": self.seed,
            "position": tuple(self.position()),
            "random": random_state(),
            "accumulated": trainer.accumulate_grad_batches,
            "logged_steps": _logged_steps(trainer),
            "metrics": epoch_metrics.collect(trainer),
        }
        checkpoint[REPLAY] = gather(trainer, own)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        everyone = checkpoint.get(REPLAY, [])
        if trainer.state.fn == "fit" and everyone:
            self.seed = everyone[0]["seed"]
            self.resumed = Position(*everyone[0]["position"])
            # Random numbers belong to a process: with another number of them, they start anew.
            self._saved = everyone[trainer.global_rank] if len(everyone) == trainer.world_size else None
            _compare_batch(trainer, len(everyone), everyone[0].get("accumulated", trainer.accumulate_grad_batches))
            if self._saved is not None:
                epoch_metrics.restore_losses(trainer, self._saved["metrics"])

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if self._saved is not None:
            epoch_metrics.add_running(trainer, self._saved["metrics"])
            self._saved = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._saved is not None:  # by the validation at the end of this epoch, after which no batch was left
            epoch_metrics.restore_latest(trainer, self._saved["metrics"])
        if trainer.fit_loop.restarting:  # in this epoch, Lightning does not step ReduceLROnPlateau
            trainer.fit_loop.epoch_loop.update_lr_schedulers("epoch", update_plateau_schedulers=True)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._random_state = random_state()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            set_random_state(self._random_state)

    def position(self) -> Position:
        """Return how far the training is."""
        progress = self.trainer.fit_loop.epoch_progress.current
        batches = self.trainer.fit_loop.epoch_loop.batch_progress.current
        now = Position(progress.completed, batches.ready if progress.ready > progress.completed else 0)
        return max(now, self.resumed)  # Lightning may start to load before it has restored its loops

    def at_boundary(self) -> None:
        """Restore the random numbers of a checkpoint, or let callbacks act."""
        position = self.position()
        if position == self._last_boundary:
            return  # several dataloaders
        self._last_boundary = position
        if self._saved is not None:
            set_random_state(self._saved["random"])
            self.trainer.fit_loop.epoch_loop._batches_that_stepped = self._saved["logged_steps"]
            if position == self._saved["position"]:  # and not in the next epoch
                epoch_metrics.restore(self.trainer, self._saved["metrics"])
            else:
                self._saved = None
        else:
            for act in self._at_boundary:
                act(self.trainer)

    def rows_of(self, number: int) -> list[int]:
        """Return the positions in the dataset of a batch of this epoch, if they are known."""
        loader = self.trainer.train_dataloader
        return loader.rows_of(number) if isinstance(loader, ReplayLoader) else []

    def name_rows(self, rows: list[int]) -> list[str]:
        """Name rows of the training dataset as the datamodule does, or by their position."""
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(datamodule, NamesRows):
            return datamodule.name_rows(rows)
        return [f"row {row} of the training data" for row in rows]


class ReplayLoader:
    """A training dataloader that starts every epoch at the batch that is due.

    Other attributes are those of the dataloader it was made from.

    Args:
        loader: Any dataloader that Lightning takes.
        replay: Knows the seed and the position of the training.
    """

    order: Order | None = None  # of a DataLoader with a sampler
    draws = True  # random numbers, while a batch is loaded
    slices = False  # batches out of tensors, without the work of a DataLoader
    loading: workers.Loading | None = None

    def __init__(self, loader: Any, replay: Replay) -> None:
        self.loader = self.inner = loader
        self.replay = replay
        if not isinstance(loader, DataLoader):
            return
        self.inner = copy.copy(loader)
        settings: dict[str, Any] = vars(self.inner)  # a DataLoader refuses to have most of them set
        settings["worker_init_fn"] = partial(workers.start, loader.worker_init_fn)
        if isinstance(loader.dataset, IterableDataset) or type(loader).__iter__ is not DataLoader.__iter__:
            return
        kind = "sampler" if loader.batch_sampler is None else "batch_sampler"
        batched = kind == "batch_sampler"
        tensors = _TensorRows.of(loader.dataset) if batched and loader.collate_fn is default_collate else None
        self.draws = not tensors and not isinstance(loader.dataset, NeverRandom)
        self.loading = workers.Loading(loader.num_workers)
        settings[kind] = self.order = Order(getattr(loader, kind), loader.generator, replay, self.draws)
        if self.draws:
            settings["dataset"] = _SeededDataset(loader.dataset, loader.collate_fn, batched, self.loading)
            settings["collate_fn"] = _as_it_is
        elif tensors:
            settings["dataset"], settings["collate_fn"] = tensors, _as_it_is
        # Rows in memory need no more of a DataLoader than its sampler.
        slices = not self.draws and batched and hasattr(self.inner.dataset, "__getitems__")
        self.slices = slices and not loader.num_workers and not loader.pin_memory

    def __getattr__(self, name: str) -> Any:
        if name in ("loader", "inner"):  # while a copy is made
            raise AttributeError(name)
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the position of the training says it all. Lightning takes this for resumable."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing."""

    @property
    def _iterator(self) -> Any:  # whose workers Lightning shuts down
        return getattr(self.inner, "_iterator", None)

    @_iterator.setter
    def _iterator(self, value: Any) -> None:
        if isinstance(self.inner, DataLoader):
            self.inner._iterator = value

    def rows_of(self, number: int) -> list[int]:
        """Return the positions in the dataset of a batch of this epoch, if they are known."""
        if self.order is None:
            return []
        rows = next(self.order.rows(self.order.epoch, self.order.cycle, number), None)
        return rows.tolist() if isinstance(rows, Tensor) else rows if isinstance(rows, list) else []

    def _name_fatal_rows(self, dead: list[int]) -> str:
        """Say what workers were loading when they died, if it is known."""
        places = [self.loading.place(worker) for worker in dead] if self.loading else []
        found = [(self.rows_of(batch), position) for batch, position in places if batch >= 0]
        rows = [row for rows, position in found for row in (rows if position < 0 else rows[position : position + 1])]
        return f", while loading {listed(self.replay.name_rows(rows))}" if rows else ""

    def __iter__(self) -> Iterator[Any]:
        # A generator: Lightning makes it early, but it starts when the first batch is due.
        replay = self.replay
        epoch, done = replay.position()
        size = sized_len(self.loader)
        cycle, start = divmod(done, size) if size else (0, done)  # Lightning cycles through the shorter of two loaders
        key = (replay.seed, epoch, cycle)
        if self.order is not None:
            self.order.start_at(epoch, cycle, start)
        if self.slices:
            dataset: Any = self.inner.dataset
            iterator = (self.inner.collate_fn(dataset.__getitems__(rows)) for rows in self.order or ())
        else:
            with seeded(*key):
                iterator = iter(self.inner)
            workers.report_death_to_loader()
        if self.order is None:
            for number in range(start):
                with seeded(*key, number):
                    next(iterator, None)
        for number in count(start):
            replay.at_boundary()
            try:
                if self.order is None:
                    with seeded(*key, number):
                        batch = next(iterator)
                else:
                    batch = next(iterator)
                    if self.draws:
                        seed_anew(*key, number)
            except StopIteration:
                return
            except Exception as error:
                if dead := workers.dead(iterator):
                    what = self._name_fatal_rows(dead)
                    advice = "if memory is short, use fewer workers or smaller batches"
                    raise InputError(f"a process that loads data died{what}; {advice}") from error
                raise
            yield batch


class _Due(NamedTuple):
    """A batch to load: its number, its rows, and the seed to load it with."""

    number: int
    rows: Any
    seed: int


class Order(Sampler[Any]):
    """The batches of a sampler from one on, the same at every start.

    Args:
        sampler: A sampler of rows, or of batches of rows.
        generator: Generator of the DataLoader, if it has one.
        replay: Knows the seed.
        draws: Whether loading draws random numbers, and so needs a seed.
    """

    def __init__(self, sampler: Any, generator: torch.Generator | None, replay: Replay, draws: bool) -> None:
        self.sampler = sampler
        self.replay = replay
        self.draws = draws
        rows = sampler.sampler if isinstance(sampler, BatchSampler) else sampler
        self.draws_at_start = isinstance(rows, DRAW_AT_START)
        generators = [generator, getattr(sampler, "generator", None), getattr(rows, "generator", None)]
        self.generators = [(each, each.initial_seed()) for each in generators if isinstance(each, torch.Generator)]
        self.start_at(0, 0, 0)

    def __len__(self) -> int:
        return len(self.sampler)

    def start_at(self, epoch: int, cycle: int, start: int) -> None:
        """Choose where the next iteration starts."""
        self.epoch, self.cycle, self.start = epoch, cycle, start

    def __iter__(self) -> Iterator[Any]:
        epoch, cycle, start = self.epoch, self.cycle, self.start
        for number, rows in enumerate(self.rows(epoch, cycle, start), start):
            if not self.draws:
                yield rows
            else:
                rank = self.replay.trainer.global_rank
                yield _Due(number, rows, seed_of(self.replay.seed, epoch, cycle, number, rank))

    def rows(self, epoch: int, cycle: int, start: int = 0) -> Iterator[Any]:
        """Yield what the sampler yields in an epoch, from a position on."""
        key = (self.replay.seed, epoch, cycle)
        for generator, seed in self.generators:
            generator.manual_seed(seed_of(*key, seed))
        if not self.draws and _is_permutation(self.sampler):
            with seeded(*key, 0):
                order = _permutation(self.sampler.sampler)
            yield from _slices(order, self.sampler.batch_size, self.sampler.drop_last, start)
        else:
            yield from islice(self._draw(key), start, None)

    def _draw(self, key: tuple[int, ...]) -> Iterator[Any]:
        iterator = iter(self.sampler)
        for number in count():
            if number == 0 or not self.draws_at_start:
                with seeded(*key, number):
                    rows = next(iterator, None)
            else:
                rows = next(iterator, None)
            if rows is None:
                return
            yield rows


def _is_permutation(sampler: Any) -> bool:
    """Tell whether batches are parts of a random order of all rows, as under `DataLoader(..., shuffle=True)`."""
    rows = getattr(sampler, "sampler", None)
    return (
        type(sampler) is BatchSampler
        and type(rows) is RandomSampler
        and not rows.replacement
        and rows.num_samples == sized_len(rows.data_source)
    )


def _permutation(sampler: RandomSampler) -> Tensor:
    """Return what a RandomSampler yields as int64 of shape (rows,), without a list that takes 40 bytes for each."""
    generator = sampler.generator
    if generator is None:
        generator = torch.Generator()
        generator.manual_seed(int(torch.empty((), dtype=torch.int64).random_().item()))
    return torch.randperm(sampler.num_samples, generator=generator)


def _slices(order: Tensor, size: int, drop_last: bool, start: int) -> Iterator[Tensor]:
    """Yield the rows of every batch from a number on."""
    for first in range(start * size, len(order), size):
        rows = order[first : first + size]
        if len(rows) == size or not drop_last:
            yield rows


class _TensorRows(Dataset[Any]):
    """The rows of a TensorDataset, or of a subset of one, a whole batch at a time, as `default_collate` joins them.

    Args:
        tensors: Those of the dataset, of shape (rows, ...).
        rows: Numbers of the rows in the subset.
    """

    def __init__(self, tensors: tuple[Tensor, ...], rows: Tensor | None) -> None:
        self.tensors = tensors
        self.rows = rows

    @classmethod
    def of(cls, dataset: Any) -> _TensorRows | None:
        """Make it, unless a dataset does anything but to hold tensors."""
        rows: Tensor | None = None
        while type(dataset) is Subset:
            inner = torch.as_tensor(dataset.indices)
            rows, dataset = inner if rows is None else inner[rows], dataset.dataset
        return cls(dataset.tensors, rows) if type(dataset) is TensorDataset else None

    def __len__(self) -> int:
        return len(self.tensors[0] if self.rows is None else self.rows)

    def __getitems__(self, rows: Any) -> list[Tensor]:
        rows = torch.as_tensor(rows)
        rows = rows if self.rows is None else self.rows[rows]
        return [tensor[rows] for tensor in self.tensors]


class _SeededDataset(Dataset[Any]):
    """Load whole batches under their seeds, and name the row where one fails.

    Args:
        dataset: A dataset.
        collate_fn: Joins rows to a batch.
        batched: Whether the sampler yields batches of rows, or a single key for a whole batch.
        loading: Where workers note what they load.
    """

    def __init__(self, dataset: Any, collate_fn: Callable[[Any], Any], batched: bool, loading: workers.Loading) -> None:
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.batched = batched
        self.loading = loading

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, due: _Due) -> Any:
        return self[due]

    def __getitem__(self, due: _Due) -> Any:
        with seeded(due.seed):
            return self.collate_fn(self._load(due.number, due.rows))

    def _load(self, number: int, rows: Any) -> Any:
        self.loading.note(number)
        if not self.batched:
            return self._get(self.dataset.__getitem__, rows)
        if hasattr(self.dataset, "__getitems__"):
            return self._get(self.dataset.__getitems__, rows)
        items = []
        for position, row in enumerate(rows):
            self.loading.note(number, position)
            items.append(self._get(self.dataset.__getitem__, row))
        return items

    def _get(self, get: Callable[[Any], Any], row: Any) -> Any:
        try:
            return get(row)
        except Exception as error:
            error.add_note(f"while loading {row} of {type(self.dataset).__name__}")
            raise


def _as_it_is(batch: Any) -> Any:
    return batch


def _logged_steps(trainer: Trainer) -> int:
    """Return the step that loggers are at; Lightning counts a step only after the hooks that may save."""
    loop = trainer.fit_loop.epoch_loop
    batches: Any = loop.batch_progress.current
    unfinished = trainer.validating or batches.processed > batches.completed
    return loop._batches_that_stepped + int(unfinished and not loop._should_accumulate())


def _compare_batch(trainer: Trainer, processes: int, accumulated: int) -> None:
    """Say so if an optimizer step takes more or fewer rows than before the resume."""
    before, now = processes * accumulated, trainer.world_size * trainer.accumulate_grad_batches
    if before == now:
        return
    batches, rest = divmod(before, trainer.world_size)
    keeps = "choose another batch size" if rest else f"--trainer.accumulate_grad_batches {batches} would keep them"
    rank_zero_info(
        f"resumed on {trainer.world_size} instead of {processes} processes: "
        f"an optimizer step takes {now} instead of {before} batches; {keeps}"
    )
