"""The math: what is learned, from which loss, by which optimiser.

Nothing here knows about devices, loops, files or logs. Those are the Trainer's, set in `configs/`.
"""

from lightning.pytorch import LightningModule
from torch import Tensor, nn, optim


class LitModel(LightningModule):
    """Linear regression: one weight per feature, and a bias.

    Args:
        in_features: Width of a row; follows the data when started from the command line.
        out_features: Numbers predicted per row.
        lr: Step size of gradient descent.
    """

    def __init__(self, in_features: int = 10, out_features: int = 1, lr: float = 0.01) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.layer = nn.Linear(in_features, out_features)
        self.criterion = nn.MSELoss()

    def forward(self, x: Tensor) -> Tensor:
        """Map rows (batch, in_features) to predictions (batch, out_features)."""
        return self.layer(x)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        y_hat = self(x)
        loss = self.criterion(y_hat, y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate(batch, "test")

    def predict_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        x, *_ = batch  # new data comes without a target
        return self(x)

    def configure_optimizers(self) -> optim.Optimizer:
        return optim.SGD(self.parameters(), lr=self.lr)

    def _evaluate(self, batch: tuple[Tensor, Tensor], stage: str) -> None:
        x, y = batch
        loss = self.criterion(self(x), y)
        # The mean over the whole set, on every number of processes.
        self.log(f"{stage}_loss", loss, prog_bar=True, batch_size=len(x), sync_dist=True)
