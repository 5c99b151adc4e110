"""The network: a decoder-only transformer in the sizes of nanoGPT, https://github.com/karpathy/nanoGPT."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .engine.errors import InputError, require_positive


class Block(nn.Module):
    """Pre-norm block: causal self-attention and an MLP, each with a residual connection.

    Args:
        width: Hidden width.
        heads: Attention heads.
        dropout: Dropout probability.

    Source: GPT-2, https://openai.com/index/better-language-models/.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.norm_1 = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, cache: list[Tensor] | None = None) -> Tensor:
        """Map (batch, tokens, width) to the same shape.

        Args:
            x: Hidden states of a whole context, or of the one token that follows those in the cache.
            cache: Keys and values of earlier tokens, (batch, heads, tokens, width / heads) each; `x` is added to it.
        """
        x = x + self._drop(self.attention_out(self._attend(self.norm_1(x), cache)))
        return x + self._drop(self.mlp_out(functional.gelu(self.mlp_in(self.norm_2(x)))))

    def _attend(self, x: Tensor, cache: list[Tensor] | None) -> Tensor:
        batch, tokens, width = x.shape
        # (3, batch, heads, tokens, width / heads)
        query, key, value = self.attention_in(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        is_causal = not cache  # a single token sees all before it
        if cache is not None:
            parts = zip(cache, (key, value), strict=True) if cache else ()
            cache[:] = [torch.cat(pair, dim=2) for pair in parts] or [key, value]
            key, value = cache
        dropout = self.dropout if self.training else 0.0
        heads = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=is_causal)
        return heads.transpose(1, 2).reshape(batch, tokens, width)

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training)


class Transformer(nn.Module):
    """A decoder-only transformer with learned positions and tied embeddings.

    Args:
        vocab_size: Vocabulary size.
        block_size: Context length in tokens.
        layers: Number of blocks.
        heads: Attention heads.
        width: Hidden width.
        dropout: Dropout probability.

    Raises:
        InputError: If the heads do not divide the width, or a size is 0.
    """

    def __init__(self, vocab_size: int, block_size: int, layers: int, heads: int, width: int, dropout: float) -> None:
        super().__init__()
        require_positive("model", layers=layers, heads=heads, width=width)
        if width % heads:
            raise InputError(f"--model.width {width} must be divisible by --model.heads {heads}")
        self.block_size = block_size
        self.dropout = nn.Dropout(dropout)
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(block_size, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                # GPT-2 scales down the layers that write to the residual stream, two per block, so that it keeps its
                # variance over depth.
                scale = 1 / math.sqrt(2 * layers) if "_out" in name else 1.0
                nn.init.normal_(parameter, std=0.02 * scale)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor, caches: Sequence[list[Tensor]] | None = None) -> Tensor:
        """Map tokens (batch, tokens) to logits for the next token at every position (batch, tokens, vocab_size).

        Args:
            x: A whole context, or the one token that follows those in the caches.
            caches: Keys and values of earlier tokens, a list for every block, empty at first.
        """
        start = caches[0][0].shape[2] if caches and caches[0] else 0
        h = self.dropout(self.tokens(x) + self.positions.weight[start : start + x.shape[1]])
        for number, block in enumerate(self.blocks):
            h = block(h, caches[number] if caches else None)
        return functional.linear(self.norm(h), self.tokens.weight)  # tied embeddings

    @torch.inference_mode()
    def generate(
        self, x: Tensor, new_tokens: int, temperature: float, top_k: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Sample a continuation of prompts.

        Args:
            x: Tokens of shape (batch, tokens).
            new_tokens: Tokens to generate.
            temperature: Sampling temperature.
            top_k: Number of most likely tokens to sample from.
            generator: Random generator, by default PyTorch's own.

        Returns:
            Tokens of shape (batch, tokens + new_tokens).
        """
        unseen, caches = x[:, -self.block_size :], self._empty_caches()
        for _ in range(new_tokens):
            logits = self(unseen, caches)[:, -1].float() / temperature
            logits, candidates = logits.topk(min(top_k, logits.shape[-1]))
            # Random numbers from the CPU do not depend on the device.
            chance = torch.rand(len(x), 1, generator=generator).type_as(logits)
            drawn = (logits.softmax(dim=-1).cumsum(dim=-1) < chance).sum(dim=-1, keepdim=True)
            x = torch.cat([x, candidates.gather(1, drawn.clamp(max=logits.shape[-1] - 1))], dim=1)
            if x.shape[1] <= self.block_size:
                unseen = x[:, -1:]
            else:  # the window slides: every token has another position, and so other keys and values
                unseen, caches = x[:, -self.block_size :], self._empty_caches()
        return x

    def _empty_caches(self) -> list[list[Tensor]]:
        return [[] for _ in self.blocks]
