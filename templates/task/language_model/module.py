"""The math: the model, its loss and its optimizer. The network is in `network.py`.

Devices, loops, files and loggers are the Trainer's, set in `configs/`.
"""

from typing import Literal

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn, optim
from torchmetrics import MetricCollection
from torchmetrics.text import Perplexity

from .data.text import Prompt
from .engine.errors import require_between
from .engine.schedule import warmup_cosine
from .network import Transformer


class LitModel(LightningModule):
    """Predict the next token of a text.

    Args:
        vocab_size: Vocabulary size; taken from the data on the command line.
        block_size: Context length in tokens; taken from the data.
        layers: Blocks of the transformer.
        heads: Attention heads.
        width: Hidden width.
        dropout: Dropout probability.
        lr: Learning rate.
        weight_decay: Weight decay of matrices.
        schedule: Learning rate schedule.
        warmup: Fraction of the run that warms up, under "cosine".
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
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        require_between("model", 0, None, lr=lr, weight_decay=weight_decay)
        require_between("model", 0, 1, dropout=dropout, warmup=warmup)
        self.lr = lr
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.network = Transformer(vocab_size, block_size, layers, heads, width, dropout)
        self.criterion = nn.CrossEntropyLoss()
        metrics = MetricCollection({"perplexity": Perplexity()})
        self.val_metrics = metrics.clone(prefix="val_")
        self.test_metrics = metrics.clone(prefix="test_")

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (batch, tokens) to logits for the next token at every position (batch, tokens, vocab_size)."""
        return self.network(x)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = self.criterion(self(x).flatten(0, 1), y.flatten())
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, "val", self.val_metrics)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, "test", self.test_metrics)

    def predict_step(self, batch: Prompt | Tensor | list[Tensor], batch_idx: int) -> tuple[Tensor, Tensor]:
        if not isinstance(batch, Prompt):
            batch = Prompt(batch if isinstance(batch, Tensor) else batch[0])  # some datasets also yield targets
        tokens = self.network.generate(*batch)
        return batch.tokens, tokens[:, batch.tokens.shape[1] :]  # the prompt and its continuation

    def configure_optimizers(self) -> OptimizerLRScheduler:
        matrices = [parameter for parameter in self.parameters() if parameter.dim() > 1]
        vectors = [parameter for parameter in self.parameters() if parameter.dim() <= 1]
        groups = [{"params": matrices, "weight_decay": self.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        optimizer = optim.AdamW(groups, lr=self.lr, betas=(0.9, 0.99))  # nanoGPT's, for few tokens per step
        if self.schedule == "constant":
            return optimizer
        scheduler = warmup_cosine(optimizer, self.trainer.estimated_stepping_batches, self.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _evaluate(self, batch: tuple[Tensor, Tensor], stage: str, metrics: MetricCollection) -> None:
        x, y = batch
        y_hat = self(x)
        loss = self.criterion(y_hat.flatten(0, 1), y.flatten())
        # sync_dist: the mean over all blocks, on any number of processes
        self.log(f"{stage}_loss", loss, prog_bar=True, batch_size=len(x), sync_dist=True)
        metrics.update(y_hat, y)
        self.log_dict(metrics, batch_size=len(x))
