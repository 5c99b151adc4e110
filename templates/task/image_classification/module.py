"""The math: what is learned, from which loss, by which optimiser.

Nothing here knows about devices, loops, files or logs. Those are the Trainer's, set in `configs/`.
"""

from difflib import get_close_matches
from itertools import pairwise
from typing import Literal

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn, optim
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchvision import models

from .engine.errors import InputError
from .engine.schedule import warmup_cosine

# These two answer with more than scores.
NETWORKS = sorted({*models.list_models(module=models)} - {"googlenet", "inception_v3"})


class ResidualBlock(nn.Module):
    """Two convolutions, added to what came in; with another width, on an image of half the size.

    Source: He et al., Deep Residual Learning for Image Recognition, https://arxiv.org/abs/1512.03385, figure 2.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        stride = 1 if in_channels == out_channels else 2
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, h, w) to (batch, out_channels, h, w), or to half of h and w, rounded up."""
        return (self.layers(x) + self.shortcut(x)).relu()


class ResidualNet(nn.Module):
    """A small residual network for images of any size.

    Args:
        in_channels: Numbers per pixel.
        num_classes: Classes to tell apart.
        width: Channels of the first block; every later one has twice as many, at half the image's size.
        depth: Number of blocks.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        widths = [width, *(width * 2**block for block in range(depth))]
        self.blocks = nn.ModuleList(ResidualBlock(*pair) for pair in pairwise(widths))
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, h, w) to scores (batch, num_classes)."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(dim=(2, 3)))


class LitModel(LightningModule):
    """A class for every image: a residual network of its own, or any other of torchvision's.

    Args:
        in_channels: Numbers per pixel; follows the data when started from the command line.
        num_classes: Classes to tell apart; follows the data.
        network: "residual", or a classification network of torchvision, such as "resnet18".
        weights: Where to begin with the latter: torchvision's "DEFAULT", or others by their name.
        width: Of "residual": channels of the first block, twice as many in every later one.
        depth: Of "residual": number of blocks.
        lr: Step size of gradient descent.
        weight_decay: How strongly weights are drawn to 0.
        schedule: Whether `lr` stays, or rises and falls.
        warmup: With "cosine", the share of the run in which `lr` rises.

    Raises:
        InputError: If there is no such network, or there are no such weights.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 10,
        network: str = "residual",
        weights: str | None = None,
        width: int = 32,
        depth: int = 3,
        lr: float = 0.003,
        weight_decay: float = 0.01,
        schedule: Literal["constant", "cosine"] = "constant",
        warmup: float = 0.05,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.warmup = warmup
        self.channels = in_channels if network == "residual" else 3
        if network == "residual":
            self.network: nn.Module = ResidualNet(in_channels, num_classes, width, depth)
        else:
            self.network = torchvision_network(network, num_classes)
        if weights is not None:
            load_pretrained(self.network, network, weights)
            # A checkpoint brings what became of them: whoever loads it need not fetch them again.
            self.hparams["weights"] = None
        self.criterion = nn.CrossEntropyLoss()
        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(num_classes, average="micro"),
                "f1": MulticlassF1Score(num_classes, average="macro"),
            }
        )
        self.val_metrics = metrics.clone(prefix="val_")
        self.test_metrics = metrics.clone(prefix="test_")

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, h, w) to scores (batch, num_classes)."""
        return self.network(x.expand(-1, self.channels, -1, -1))  # gray becomes colour for those who expect it

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        y_hat = self(x)
        loss = self.criterion(y_hat, y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        return self._evaluate(batch, "val", self.val_metrics)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        return self._evaluate(batch, "test", self.test_metrics)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> tuple[Tensor, Tensor]:
        x, rows = batch  # new data comes without a target; the row numbers tell which image it is
        return self(x), rows

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        if self.schedule == "constant":
            return optimizer
        scheduler = warmup_cosine(optimizer, self.trainer.estimated_stepping_batches, self.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _evaluate(self, batch: tuple[Tensor, Tensor], stage: str, metrics: MetricCollection) -> dict[str, Tensor]:
        x, y = batch
        y_hat = self(x)
        # The mean over the whole set, on every number of processes.
        self.log(f"{stage}_loss", self.criterion(y_hat, y), prog_bar=True, batch_size=len(x), sync_dist=True)
        metrics.update(y_hat, y)
        self.log_dict(metrics, batch_size=len(x))
        return {"y_hat": y_hat, "y": y}


def torchvision_network(name: str, num_classes: int) -> nn.Module:
    """Make one of torchvision's networks, untrained.

    Raises:
        InputError: If it has none of this name.
    """
    if name not in NETWORKS:
        near = ", ".join(get_close_matches(name, NETWORKS, n=5, cutoff=0))
        raise InputError(f"--model.network {name}: there is none of this name, but residual, {near} and others")
    return models.get_model(name, weights=None, num_classes=num_classes)


def load_pretrained(network: nn.Module, name: str, weights: str) -> None:
    """Give a network what torchvision has trained, except where the shape is another, as in the last layer.

    Raises:
        InputError: If there are no such weights, or they cannot be fetched.
    """
    if name == "residual":
        raise InputError(f"--model.weights {weights}: those are torchvision's; choose a --model.network of it too")
    known = models.get_model_weights(name).__members__
    if weights not in known:
        raise InputError(f"--model.weights {weights}: {name} has {', '.join(known)}")
    try:
        pretrained = known[weights].get_state_dict(progress=False)
    except OSError as error:
        raise InputError(f"--model.weights {weights}: {known[weights].url} cannot be fetched: {error}") from None
    own = network.state_dict()
    fitting = {key: value for key, value in pretrained.items() if key in own and value.shape == own[key].shape}
    network.load_state_dict(fitting, strict=False)
