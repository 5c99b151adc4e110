"""The data: read a text, split it, cut it into blocks of tokens, hand them out in batches.

Without a path it is the reference of Python's own `help()`: 465 thousand characters of English, part of
the standard library. Your own text is a matter of configuration:

    --data.path my.txt
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .engine.errors import InputError, require_positive
from .engine.text import Vocabulary, characters_of, map_tokens, read_pieces, text_files


class Fitted(TypedDict):
    """What was found out about the text, in plain values: a checkpoint loads with `weights_only=True`."""

    characters: str  # declared, or the command line would take some texts for something else


class Blocks(Dataset[tuple[Tensor, Tensor]]):
    """Parts of a text, each with the same part one token further.

    Args:
        tokens: The whole text, of shape (tokens,).
        starts: Where each block begins.
        block_size: Tokens in a block.
    """

    def __init__(self, tokens: Tensor, starts: Sequence[int], block_size: int) -> None:
        self.tokens = tokens
        self.starts = starts
        self.block_size = block_size

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return tokens and next tokens, both int64 of shape (block_size,)."""
        block = self.tokens[self.starts[index] :][: self.block_size + 1].long()
        return block[:-1], block[1:]


class LitDataModule(LightningDataModule):
    """A text, of which every token is to be told from those before.

    Args:
        path: Text file in UTF-8, or a folder of .txt and .md files; without one, the reference of Python.
        tokens: What the text is divided into: its characters, or its bytes.
        block_size: Tokens in a block: as far as the model can look back.
        batch_size: Blocks per step.
        shuffle: Whether each epoch sees the training blocks in a new order.
        val_fraction: Share of the text kept for validation, after what is kept for training.
        test_fraction: Share of the text kept for the test: its end.
        prompts: What `predict` goes on from; by default a new line.
        cache_dir: Where the tokens of your text are kept, to be mapped into memory.
        fitted: What was found out about the text; comes with a checkpoint.

    Raises:
        InputError: If the text or a prompt cannot be used.
    """

    # What the model has to know of the data: the command line hands these to its arguments of the same names.
    shapes = ("vocab_size", "block_size")

    def __init__(
        self,
        path: str | None = None,
        tokens: Literal["characters", "bytes"] = "characters",
        block_size: int = 256,
        batch_size: int = 8,
        shuffle: bool = True,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        prompts: list[str] | None = None,
        cache_dir: str = ".cache",
        fitted: Fitted | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        require_positive("data", batch_size=batch_size, block_size=block_size)
        self.path = path
        self.tokens = tokens
        self.block_size = block_size
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.given_prompts = prompts
        self.cache_dir = cache_dir

    @property
    def vocab_size(self) -> int:
        """Different tokens."""
        return len(self.vocabulary)

    def setup(self, stage: str) -> None:
        """Read and split, or encode the prompts."""
        if stage == "predict":
            self.x = [self.encode(prompt) for prompt in self.prompts]
            return
        self.blocks = {split: Blocks(self.corpus, starts, self.block_size) for split, starts in self.splits.items()}

    def train_dataloader(self) -> DataLoader:
        return self._load("train", shuffle=self.shuffle)

    def val_dataloader(self) -> DataLoader:
        return self._load("val")

    def test_dataloader(self) -> DataLoader:
        return self._load("test")

    def predict_dataloader(self) -> DataLoader:
        """The prompts, one by one: they differ in length."""
        return DataLoader(self.x, batch_size=1)  # type: ignore[arg-type]

    def decode(self, prediction: tuple[Tensor, Tensor]) -> dict[str, list[Any]]:
        """Turn prompts (n, tokens) and what the model added (n, new tokens) into text."""
        columns = zip(("prompt", "continuation"), prediction, strict=True)
        return {name: [self.vocabulary.decode(row) for row in rows] for name, rows in columns}

    def encode(self, prompt: str) -> Tensor:
        """Turn a prompt into tokens, int64 of shape (tokens,)."""
        if not prompt:
            raise InputError("--data.prompts: a prompt is empty; it needs at least one character to go on from")
        return torch.from_numpy(self.vocabulary.encode(prompt, f"the prompt {prompt!r}")).long()

    @property
    def prompts(self) -> list[str]:
        """What `predict` goes on from."""
        characters = self.vocabulary.characters
        return self.given_prompts or ["\n" if "\n" in characters or not characters else characters[0]]

    @cached_property
    def corpus(self) -> Tensor:
        """All tokens of the text, of shape (tokens,)."""
        if self.path is not None:
            return map_tokens(text_files(self.path), self.vocabulary, Path(self.cache_dir))
        return torch.from_numpy(self.vocabulary.encode(_reference(), "the reference of Python"))

    @cached_property
    def splits(self) -> dict[str, range]:
        """Where the blocks of the three splits begin: training first, then validation, then the test."""
        n = len(self.corpus)
        val, test = round(n * self.val_fraction), round(n * self.test_fraction)
        ends = {"train": (0, n - val - test), "val": (n - val - test, n - test), "test": (n - test, n)}
        splits = {name: range(start, end - self.block_size, self.block_size) for name, (start, end) in ends.items()}
        for name, starts in splits.items():
            if not starts:
                start, end = ends[name]
                raise InputError(
                    f"{self.path or 'the reference of Python'}: {n} tokens leave {end - start} for the {name} split, "
                    f"which needs {self.block_size + 1}: lower --data.block_size, or take more text"
                )
        return splits

    @cached_property
    def fitted(self) -> Fitted:
        """What was found out about the text; every checkpoint holds it."""
        if self.hparams["fitted"] is None:
            pieces = [_reference()] if self.path is None else read_pieces(text_files(self.path))
            self.hparams["fitted"] = Fitted(characters=characters_of(pieces) if self.tokens == "characters" else "")
        return self.hparams["fitted"]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Turns text into tokens and back."""
        return Vocabulary(self.fitted["characters"])

    def _load(self, split: str, shuffle: bool = False) -> DataLoader:
        # No worker processes: a block is a few hundred numbers, and handing them over would cost more.
        return DataLoader(self.blocks[split], batch_size=self.batch_size, shuffle=shuffle)


def _reference() -> str:
    from pydoc_data.topics import topics

    return "\n\n".join(topics.values())
