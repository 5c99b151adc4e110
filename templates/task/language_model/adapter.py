"""What is exported of this project's own data: the logits of the next token. Sampling stays in predict.py."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engine.errors import InputError
from .plain import Columns, Exported, Mismatch, PlainAdapter, Sample, spaced
from .predict import Predictor, run

PIECE = 34  # blocks that are compared at a time: two batches of the largest size
EXAMPLE = 40  # tokens of the prompt that is shown as an example
GENERATED = 32  # tokens that are generated for the check


class ExportedText(Exported):
    """Map tokens (batch, tokens) to logits (batch, tokens, vocab_size).

    Args:
        adapter: The trained model and its data.
    """

    def __init__(self, adapter: PlainAdapter) -> None:
        super().__init__(adapter.model)
        self.vocab_size = adapter.datamodule.vocab_size

    def outputs(self, *inputs: Tensor) -> dict[str, Tensor]:
        [tokens] = inputs
        logits = self.model(tokens)
        wanted = (*tokens.shape, self.vocab_size)
        if not isinstance(logits, Tensor) or logits.shape != wanted:
            found = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
            raise InputError(
                f"{type(self.model).__name__} cannot be exported: its forward returns {found} for tokens of shape "
                f"{wanted[:2]}, not logits of shape {wanted}"
            )
        return {"logits": logits}


class LitAdapter(PlainAdapter):
    """Export `forward` of a language model."""

    kind = "text"

    @cached_property
    def module(self) -> ExportedText:
        return ExportedText(self)

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        return {"tokens": torch.zeros(2, max(2, self.datamodule.block_size // 2), dtype=torch.long)}

    @property
    def varying(self) -> dict[str, dict[int, tuple[str, int]]]:
        return {"tokens": {1: ("time", self.datamodule.block_size)}}

    @property
    def about(self) -> dict[str, Any]:
        names = ("block_size", "new_tokens", "temperature", "top_k")
        settings = {name: getattr(self.datamodule, name) for name in names}
        vocabulary = self.datamodule.vocabulary
        start = self.datamodule.splits["val"][0]
        example = vocabulary.decode(self.datamodule.corpus[start : start + EXAMPLE])
        return {"text": {**settings, "vocabulary": vocabulary.characters, "example": example}}

    def samples(self, most: int) -> Iterator[Sample]:
        data = self.datamodule
        data.setup("validate")
        blocks = data.blocks["val"]
        for piece in spaced(len(blocks), most).split(PIECE):
            tokens = torch.stack([blocks[row][0] for row in piece.tolist()])
            with torch.inference_mode():
                outputs = self.module.outputs(tokens)
            yield Sample(list(tokens.numpy()), {name: list(each.float().numpy()) for name, each in outputs.items()})

    def predict(self, predictor: Predictor, rows: Sequence[Any], batch_size: int) -> Columns:
        batches = (np.stack(rows[start : start + batch_size]) for start in range(0, len(rows), batch_size))
        parts = [run(predictor, {"tokens": tokens}) for tokens in batches]
        return {name: [row for part in parts for row in part[name]] for name in parts[0]}

    def check(self, predictor: Predictor) -> None:
        """Check that texts become the same tokens, and are continued by the same most likely ones."""
        data = self.datamodule
        block = data.blocks["val"][0][0]
        prompts = [*data.prompts, data.vocabulary.decode(block)] if data.vocabulary.characters else data.prompts
        for prompt in prompts:
            tokens = data.prompt(prompt).tokens
            if predictor.tokens(prompt).tolist() != tokens[0].tolist():
                raise Mismatch(f"the prompt {prompt!r} becomes other tokens")
            start = tokens.shape[1]
            with torch.inference_mode():
                for _ in range(GENERATED):
                    following = self.model(tokens[:, -data.block_size :])[:, -1].argmax(dim=-1, keepdim=True)
                    tokens = torch.cat([tokens, following], dim=1)
            expected = data.vocabulary.decode(tokens[0, start:])
            if (found := "".join(predictor.generate(prompt, new_tokens=GENERATED, top_k=1))) != expected:
                raise Mismatch(f"the prompt {prompt!r} continues with {found!r} instead of {expected!r}")
