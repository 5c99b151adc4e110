"""What is exported of this project's own data: the logits of the next token. Sampling stays in predict.py."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..engine.errors import InputError
from .plain import Columns, Forward, Mismatch, PlainAdapter, Sample
from .predict import Predictor, run

PIECE = 34  # blocks that are compared at a time: two batches of the largest size
EXAMPLE = 40  # tokens of the prompt that is shown as an example
GENERATED = 32  # tokens that are generated for the check


class LitAdapter(PlainAdapter):
    """Export `forward`, from tokens (batch, tokens) to logits (batch, tokens, vocab_size)."""

    kind = "text"

    @cached_property
    def module(self) -> nn.Module:
        shape = tuple(self.model(self.inputs["tokens"]).shape)
        wanted = (*self.inputs["tokens"].shape, self.datamodule.vocab_size)
        if shape != wanted:
            raise InputError(
                f"{type(self.model).__name__} cannot be exported: its forward returns shape {shape} for tokens of "
                f"shape {wanted[:2]}, not logits of shape {wanted}"
            )
        return Forward(self.model)

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        return {"tokens": torch.zeros(2, max(2, self.datamodule.block_size // 2), dtype=torch.long)}

    @property
    def varying(self) -> dict[str, dict[int, tuple[str, int]]]:
        return {"tokens": {1: ("time", self.datamodule.block_size)}}

    @cached_property
    def output_names(self) -> list[str]:
        return ["logits"]

    @property
    def about(self) -> dict[str, Any]:
        names = ("block_size", "new_tokens", "temperature", "top_k")
        settings = {name: getattr(self.datamodule, name) for name in names}
        vocabulary = self.datamodule.vocabulary
        start = self.datamodule.splits["val"][0]
        example = vocabulary.decode(self.datamodule.corpus[start : start + EXAMPLE])
        return {"text": {**settings, "vocabulary": vocabulary.characters, "example": example}}

    @property
    def note(self) -> str | None:
        return None

    def samples(self, most: int) -> Iterator[Sample]:
        data = self.datamodule
        data.setup("validate")
        blocks = data.blocks["val"]
        rows = torch.linspace(0, len(blocks) - 1, min(most, len(blocks))).long()
        for piece in rows.split(PIECE):
            tokens = torch.stack([blocks[row][0] for row in piece.tolist()])
            with torch.inference_mode():
                yield Sample(list(tokens.numpy()), {"logits": list(self.model(tokens).float().numpy())})

    def predict(self, predictor: Predictor, rows: Sequence[Any], batch_size: int) -> Columns:
        parts = [np.stack(rows[start : start + batch_size]) for start in range(0, len(rows), batch_size)]
        return {"logits": [logits for part in parts for logits in run(predictor, {"tokens": part})["logits"]]}

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
