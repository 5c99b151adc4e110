"""The data: a text, cut into blocks of tokens.

By default it is the reference of Python's own `help()`: 465 thousand characters of English, part of the standard
library. Your own text is a config change:

    --data.path my.txt
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from .data.documents import find_documents
from .data.fingerprint import fingerprint, fingerprint_of_bytes
from .data.text import Blocks, Prompt, Vocabulary, characters_of, keep_characters, map_tokens
from .engine.errors import InputError, require_between, require_fractions, require_positive, require_same
from .engine.predictions import plain_columns


class LitDataModule(LightningDataModule):
    """Blocks of a text and the same blocks shifted by one token; prompts, to predict.

    Args:
        path: Text file, or a folder of .txt and .md files, whose texts each start on a new line; by default the
            reference of Python.
        encoding: Encoding of your text, such as "latin-1" or "utf-16"; a byte order mark is no token.
        field: Field with the text, for JSON lines (.jsonl); every record ends with a newline.
        tokens: The text's tokens: its characters or its bytes.
        block_size: Context length in tokens.
        batch_size: Blocks per step.
        shuffle: Whether to reshuffle the training blocks every epoch.
        val_fraction: Fraction of the text for validation, after the training text.
        test_fraction: Fraction of the text for the test, at its end.
        prompts: Texts that `predict` continues; by default a new line.
        new_tokens: Tokens to generate for a prompt.
        temperature: Sampling temperature; below 1, likely tokens become more likely.
        top_k: Number of most likely tokens to sample from.
        cache_dir: Folder for the characters and the memory-mapped tokens of your text.

    Raises:
        InputError: If the text or a prompt cannot be used.
    """

    def __init__(
        self,
        path: str | None = None,
        encoding: str = "utf-8",
        field: str | None = None,
        tokens: Literal["characters", "bytes"] = "characters",
        block_size: int = 256,
        batch_size: int = 8,
        shuffle: bool = True,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        prompts: list[str] | None = None,
        new_tokens: int = 200,
        temperature: float = 0.8,
        top_k: int = 50,
        cache_dir: str = ".cache",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        require_positive("data", batch_size=batch_size, block_size=block_size, temperature=temperature, top_k=top_k)
        require_between("data", 0, None, new_tokens=new_tokens)
        self.path = path
        self.encoding = encoding
        self.field = field
        self.tokens = tokens
        self.block_size = block_size
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.given_prompts = prompts
        self.new_tokens = new_tokens
        self.temperature = temperature
        self.top_k = top_k
        self.cache_dir = cache_dir

    @property
    def vocab_size(self) -> int:
        """Number of distinct tokens."""
        return len(self.vocabulary)

    def setup(self, stage: str) -> None:
        """Read and split the text, or tokenize the prompts."""
        if stage == "predict":
            self.x = [self.prompt(text) for text in self.prompts]
        else:
            self.blocks = {split: Blocks(self.corpus, starts, self.block_size) for split, starts in self.splits.items()}

    def train_dataloader(self) -> DataLoader:
        return self._loader("train", shuffle=self.shuffle)

    def val_dataloader(self) -> DataLoader:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader:
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader:
        """The prompts, each a batch: their lengths differ."""
        return DataLoader(self.x, batch_size=1, collate_fn=_only)  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, Any]:
        """Return what was found in the text, for the checkpoint."""
        return self.fitted

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the vocabulary and the settings.

        Raises:
            InputError: If the settings contradict it.
        """
        trained = dict(state_dict["settings"])
        if trained.pop("path") != self.path:  # another text has its own split
            trained = {name: trained[name] for name in ("tokens", "block_size")}
        require_same(self._settings, trained)
        self.fitted = state_dict

    def decode(self, prediction: tuple[Tensor, Tensor], rows: Sequence[int] = ()) -> dict[str, list[Any]]:
        """Turn prompts (n, tokens) and their continuations (n, new tokens) into text."""
        if not isinstance(prediction, tuple):
            return plain_columns(prediction)  # another model's
        columns = zip(("prompt", "continuation"), prediction, strict=True)
        return {name: [self.vocabulary.decode(tokens) for tokens in part] for name, part in columns}

    def describe_data(self) -> dict[str, Any]:
        """Describe the text and the number of blocks in every split, for run.json in the run's folder."""
        if self.path is None:
            source = fingerprint_of_bytes("the reference of Python", _reference().encode())
        else:
            source = fingerprint(self.path, find_documents(self.path, self.encoding, self.field).files)
        rows = {split: len(starts) for split, starts in self.splits.items()}
        return {"sources": [source], "rows": rows, "tokens": len(self.corpus)}

    def name_rows(self, rows: Sequence[int]) -> list[str]:
        """Name blocks of the training split by where they start."""
        return [f"the block at token {self.splits['train'][row]}" for row in rows]

    def prompt(self, text: str) -> Prompt:
        """Tokenize a prompt."""
        if not text:
            raise InputError("--data.prompts: a prompt is empty; it needs at least one character")
        tokens = torch.from_numpy(self.vocabulary.encode(text, f"the prompt {text!r}")).long()
        return Prompt(tokens[None], self.new_tokens, self.temperature, self.top_k)

    @property
    def prompts(self) -> list[str]:
        """Texts that `predict` continues."""
        characters = self.vocabulary.characters
        return self.given_prompts or ["\n" if "\n" in characters or not characters else characters[0]]

    @cached_property
    def corpus(self) -> Tensor:
        """All tokens of the text, of shape (tokens,)."""
        if self.path is not None:
            documents = find_documents(self.path, self.encoding, self.field)
            return map_tokens(documents, self.vocabulary, Path(self.cache_dir))
        return torch.from_numpy(self.vocabulary.encode(_reference(), "the reference of Python"))

    @cached_property
    def splits(self) -> dict[str, range]:
        """Where the blocks of the three splits start: training first, then validation, then test."""
        require_fractions(self.val_fraction, self.test_fraction)
        n = len(self.corpus)
        val, test = round(n * self.val_fraction), round(n * self.test_fraction)
        ends = {"train": (0, n - val - test), "val": (n - val - test, n - test), "test": (n - test, n)}
        splits = {name: range(start, end - self.block_size, self.block_size) for name, (start, end) in ends.items()}
        for name, starts in splits.items():
            if not starts:
                start, end = ends[name]
                raise InputError(
                    f"{self.path or 'the reference of Python'}: {n} tokens leave {end - start} for the {name} split, "
                    f"which needs {self.block_size + 1}; lower --data.block_size, or add text"
                )
        return splits

    @cached_property
    def fitted(self) -> dict[str, Any]:
        """What was found in the text, as plain values: checkpoints load with `weights_only=True`."""
        if self.tokens != "characters":
            characters = ""
        elif self.path is None:
            characters = characters_of([_reference()])
        else:
            characters = keep_characters(find_documents(self.path, self.encoding, self.field), Path(self.cache_dir))
        return {"settings": self._settings, "characters": characters}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Maps text to tokens and back."""
        return Vocabulary(self.fitted["characters"])

    @property
    def _settings(self) -> dict[str, Any]:
        """The settings that decide what the model sees."""
        names = ("path", "encoding", "field", "tokens", "block_size", "val_fraction", "test_fraction")
        return {name: getattr(self, name) for name in names}

    def _loader(self, split: str, shuffle: bool = False) -> DataLoader:
        # No worker processes: a block is a few hundred numbers, and handing them over would cost more.
        return DataLoader(self.blocks[split], batch_size=self.batch_size, shuffle=shuffle)


def _only(batch: list[Prompt]) -> Prompt:
    [prompt] = batch
    return prompt


def _reference() -> str:
    from pydoc_data.topics import topics

    return "\n\n".join(topics.values())
