"""The math: what is learned, from which loss, by which optimiser.

Nothing here knows about devices, loops, files or logs. Those are the Trainer's, set in `configs/`.
"""

import math
from typing import Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn, optim
from torch.nn import functional
from torchmetrics import MetricCollection
from torchmetrics.text import Perplexity

from .engine.errors import InputError, require_positive
from .engine.schedule import warmup_cosine


class Block(nn.Module):
    """Attention to all tokens before, then two layers on each token by itself, both beside the way straight on.

    Args:
        width: Numbers for each token.
        heads: Parts in which attention divides them.
        dropout: Share that is left out at every step of training.

    Source: GPT-2, https://openai.com/index/better-language-models/, with the normalisation first.
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

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, tokens, width) to the same shape."""
        x = x + self._drop(self.attention_out(self._attend(self.norm_1(x))))
        return x + self._drop(self.mlp_out(functional.gelu(self.mlp_in(self.norm_2(x)))))

    def _attend(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        # (3, batch, heads, tokens, width of a head)
        query, key, value = self.attention_in(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        heads = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        return heads.transpose(1, 2).reshape(batch, tokens, width)

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training)


class Transformer(nn.Module):
    """A decoder-only transformer in the sizes of nanoGPT, https://github.com/karpathy/nanoGPT.

    Args:
        vocab_size: Different tokens.
        block_size: Tokens that it can look back on.
        layers: Blocks, one after another.
        heads: Parts in which attention divides the width.
        width: Numbers for each token.
        dropout: Share that is left out at every step of training.
    """

    def __init__(self, vocab_size: int, block_size: int, layers: int, heads: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(block_size, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                # Each block adds to the sum twice: the parts that do begin smaller, so that the sum does not grow.
                scale = 1 / math.sqrt(2 * layers) if "_out" in name else 1.0
                nn.init.normal_(parameter, std=0.02 * scale)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens to scores; see `LitModel.forward`."""
        h = self.dropout(self.tokens(x) + self.positions.weight[: x.shape[1]])
        for block in self.blocks:
            h = block(h)
        return functional.linear(self.norm(h), self.tokens.weight)  # tied: a token is read and written alike


class LitModel(LightningModule):
    """How a text goes on: a score for every token that may come next.

    Args:
        vocab_size: Different tokens; follows the data when started from the command line.
        block_size: Tokens that the model can look back on; follows the data.
        layers: Blocks of the transformer.
        heads: Parts in which attention divides the width.
        width: Numbers for each token.
        dropout: Share that is left out at every step of training.
        lr: Step size of gradient descent.
        weight_decay: How strongly matrices are drawn to 0.
        schedule: Whether `lr` stays, or rises and falls.
        warmup: With "cosine", the share of the run in which `lr` rises.
        new_tokens: How many tokens `predict` adds to a prompt.
        temperature: Below 1, likely tokens become likelier in what is generated.
        top_k: Only so many of the likeliest tokens are chosen from.

    Raises:
        InputError: If the heads do not divide the width.
    """

    def __init__(
        self,
        vocab_size: int = 256,
        block_size: int = 256,
        layers: int = 6,
        heads: int = 6,
        width: int = 384,
        dropout: float = 0.2,
        lr: float = 0.001,
        weight_decay: float = 0.1,
        schedule: Literal["constant", "cosine"] = "constant",
        warmup: float = 0.05,
        new_tokens: int = 200,
        temperature: float = 0.8,
        top_k: int = 50,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        require_positive("model", layers=layers, heads=heads, width=width, temperature=temperature, top_k=top_k)
        if width % heads:
            raise InputError(f"--model.width {width} cannot be divided into {heads} equal --model.heads")
        self.block_size = block_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.new_tokens = new_tokens
        self.temperature = temperature
        self.top_k = top_k
        self.network = Transformer(vocab_size, block_size, layers, heads, width, dropout)
        self.criterion = nn.CrossEntropyLoss()
        metrics = MetricCollection({"perplexity": Perplexity()})
        self.val_metrics = metrics.clone(prefix="val_")
        self.test_metrics = metrics.clone(prefix="test_")

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (batch, tokens) to scores for the next one at every place (batch, tokens, vocab_size)."""
        return self.network(x)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        y_hat = self(x)
        loss = self.criterion(y_hat.flatten(0, 1), y.flatten())
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, "val", self.val_metrics)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, "test", self.test_metrics)

    def predict_step(self, batch: Tensor, batch_idx: int) -> tuple[Tensor, Tensor]:
        return batch, self.generate(batch)[:, batch.shape[1] :]  # the prompt, and how it goes on

    def configure_optimizers(self) -> OptimizerLRScheduler:
        matrices = [parameter for parameter in self.parameters() if parameter.dim() > 1]
        others = [parameter for parameter in self.parameters() if parameter.dim() <= 1]
        groups = [{"params": matrices, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = optim.AdamW(groups, lr=self.lr, betas=(0.9, 0.99))  # of nanoGPT, for few tokens per step
        if self.schedule == "constant":
            return optimizer
        scheduler = warmup_cosine(optimizer, self.trainer.estimated_stepping_batches, self.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    @torch.inference_mode()
    def generate(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Add `new_tokens` to prompts, each drawn by its probability.

        Args:
            x: Tokens of shape (batch, tokens).
            generator: Where chance comes from, if not from PyTorch's own.

        Returns:
            Tokens of shape (batch, tokens + new_tokens).
        """
        for _ in range(self.new_tokens):
            # The network itself: --compile makes this class anew for other lengths and modes.
            scores = self.network(x[:, -self.block_size :])[:, -1].float() / self.temperature
            scores, candidates = scores.topk(min(self.top_k, scores.shape[-1]))
            # Chance is drawn in one place for all kinds of hardware, and so is the same on each.
            chance = torch.rand(len(x), 1, generator=generator).type_as(scores)
            drawn = (scores.softmax(dim=-1).cumsum(dim=-1) < chance).sum(dim=-1, keepdim=True)
            x = torch.cat([x, candidates.gather(1, drawn.clamp(max=scores.shape[-1] - 1))], dim=1)
        return x

    def _evaluate(self, batch: tuple[Tensor, Tensor], stage: str, metrics: MetricCollection) -> None:
        x, y = batch
        y_hat = self(x)
        loss = self.criterion(y_hat.flatten(0, 1), y.flatten())
        # The mean over the whole set, on every number of processes.
        self.log(f"{stage}_loss", loss, prog_bar=True, batch_size=len(x), sync_dist=True)
        metrics.update(y_hat, y)
        self.log_dict(metrics, batch_size=len(x))
