"""Continue a text with an exported model, with NumPy and ONNX Runtime alone.

    python predict.py "The first line"

It needs model.onnx and model.json in its folder. In Python:

    from predict import Predictor

    "".join(Predictor(".").generate("The first line", new_tokens=50))
"""

import codecs
import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


class Predictor:
    """An exported language model.

    Args:
        folder: Folder of model.onnx and model.json.

    Attributes:
        about: The content of model.json.
    """

    def __init__(self, folder: Path | str) -> None:
        self.about, self.session = open_model(folder)
        self.settings: dict[str, Any] = self.about.get("text", {})
        self.characters: str = self.settings.get("vocabulary", "")
        self.numbers = {character: number for number, character in enumerate(self.characters)}

    def predict(self, rows: Sequence[Any], batch_size: int = 64, **settings: Any) -> dict[str, list[Any]]:
        """Continue prompts.

        Args:
            rows: Prompts.
            batch_size: Rows that are run together, by a model of plain arrays.
            settings: See `generate`.

        Returns:
            The columns prompt and continuation.

        Raises:
            InputError: If a prompt cannot be used.
        """
        if not self.settings:
            return predict_in_batches(self, rows, batch_size)
        return {"prompt": [*rows], "continuation": ["".join(self.generate(row, **settings)) for row in rows]}

    def generate(
        self,
        prompt: str,
        new_tokens: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        """Sample a continuation of a prompt.

        Args:
            prompt: Any text of the characters that were in the training text.
            new_tokens: Tokens to generate; the default of this and the next two is that of the training.
            temperature: Sampling temperature; below 1, likely tokens become more likely.
            top_k: Number of most likely tokens to sample from; 1 always takes the most likely one.
            seed: Random seed; by default each call samples anew.

        Returns:
            Pieces of text, each when it is sampled.

        Raises:
            InputError: If the prompt or a setting cannot be used.
        """
        given = {"new_tokens": new_tokens, "temperature": temperature, "top_k": top_k}
        chosen: dict[str, Any] = {
            name: self.settings[name] if value is None else value for name, value in given.items()
        }
        for name, value in chosen.items():
            if value < 0 or (value == 0 and name != "new_tokens"):
                raise InputError(f"is {value}; it must be {'0 or more' if name == 'new_tokens' else 'above 0'}", name)
        return self._pieces(self._sampled(self.tokens(prompt), np.random.default_rng(seed), **chosen))

    def read(self, paths: Sequence[str]) -> list[Any]:
        """Return the prompts of the command line, or the rows of .npz files for a model of plain arrays."""
        return [*paths] if self.settings else read_arrays(paths)

    def encode(self, rows: Sequence[Any], first: int = 1) -> dict[str, np.ndarray]:
        """Stack rows of arrays, or the tokens of texts of one length, int64 of shape (texts, tokens)."""
        return {"tokens": np.stack([self.tokens(row) for row in rows])} if self.settings else stack(rows, self.about)

    def decode(self, outputs: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Turn outputs into columns of plain numbers."""
        return plain_columns(outputs)

    def tokens(self, text: str) -> np.ndarray:
        """Turn a text into tokens, int64 of shape (tokens,).

        Raises:
            InputError: If it is empty, or holds a character that was not in the training text.
        """
        if not text:
            raise InputError("is empty; it needs at least one character", "prompt")
        if not self.characters:  # tokens are bytes
            return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)
        if unknown := [character for character in text if character not in self.numbers]:
            raise InputError(f"holds {unknown[0]!r}, which is not in the training text; remove it", "prompt")
        return np.array([self.numbers[character] for character in text], dtype=np.int64)

    def _sampled(
        self, tokens: np.ndarray, random: np.random.Generator, new_tokens: int, temperature: float, top_k: int
    ) -> Iterator[int]:
        for _ in range(new_tokens):
            window = tokens[-self.settings["block_size"] :]
            logits = run(self, {"tokens": window[None]})["logits"][0, -1].astype(np.float64) / temperature
            candidates = np.argsort(-logits, kind="stable")[:top_k]
            chances = np.exp(logits[candidates] - logits[candidates[0]])
            drawn = np.searchsorted(chances.cumsum(), random.random() * chances.sum(), side="right")
            token = int(candidates[min(drawn, len(candidates) - 1)])
            tokens = np.append(tokens, token)
            yield token

    def _pieces(self, tokens: Iterator[int]) -> Iterator[str]:
        """Turn tokens back into text, as they come; a character of several bytes when it is complete."""
        if self.characters:
            yield from (self.characters[token] for token in tokens)
            return
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # a model may write half a character
        yield from filter(None, (decoder.decode(bytes([token])) for token in tokens))
        yield from filter(None, [decoder.decode(b"", final=True)])
