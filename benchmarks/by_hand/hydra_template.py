"""A multilayer perceptron the way of lightning-hydra-template, without Hydra itself.

    PYTHONPATH=benchmarks python benchmarks/by_hand/hydra_template.py --path table.csv --epochs 5

Metrics, callbacks, logger, optimizer, batch size and loaders are those of src/models/mnist_module.py,
src/data/mnist_datamodule.py and configs/ in https://github.com/ashleve/lightning-hydra-template at bddbc24, with
`logger=csv`; the network and the data are those of the rendered project that it is compared with.
"""

import argparse

import numpy as np
import torch
from lightning import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichModelSummary, RichProgressBar
from lightning.pytorch.loggers import CSVLogger
from split import split
from timed import Timed
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MaxMetric, MeanMetric
from torchmetrics.classification import Accuracy


class LitMLP(LightningModule):
    """Classify rows of a table."""

    def __init__(self, in_features: int, num_classes: int, hidden: int = 64) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *(nn.Linear(in_features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()),
            nn.Linear(hidden, num_classes),
        )
        self.criterion = nn.CrossEntropyLoss()
        self.train_acc = Accuracy(task="multiclass", num_classes=num_classes)
        self.val_acc = Accuracy(task="multiclass", num_classes=num_classes)
        self.train_loss = MeanMetric()
        self.val_loss = MeanMetric()
        self.val_acc_best = MaxMetric()

    def on_train_start(self) -> None:
        self.val_loss.reset()
        self.val_acc.reset()
        self.val_acc_best.reset()

    def model_step(self, batch: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        x, y = batch
        logits = self.net(x)
        return self.criterion(logits, y), logits.argmax(dim=1), y

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss, preds, targets = self.model_step(batch)
        self.train_loss(loss)
        self.train_acc(preds, targets)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("train/acc", self.train_acc, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        loss, preds, targets = self.model_step(batch)
        self.val_loss(loss)
        self.val_acc(preds, targets)
        self.log("val/loss", self.val_loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("val/acc", self.val_acc, on_step=False, on_epoch=True, prog_bar=True)

    def on_validation_epoch_end(self) -> None:
        self.val_acc_best(self.val_acc.compute())
        self.log("val/acc_best", self.val_acc_best.compute(), sync_dist=True, prog_bar=True)

    def configure_optimizers(self) -> dict:
        optimizer = optim.Adam(self.parameters(), lr=0.001, weight_decay=0.0)
        scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", factor=0.1, patience=10)
        settings = {"scheduler": scheduler, "monitor": "val/loss", "interval": "epoch", "frequency": 1}
        return {"optimizer": optimizer, "lr_scheduler": settings}


def main() -> None:
    """Train, and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--path", required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    seed_everything(args.seed)

    table = torch.from_numpy(np.loadtxt(args.path, delimiter=",", skiprows=1))
    x, y = table[:, :-1], table[:, -1].long()
    train, val = split(y)
    x = ((x - x[train].mean(0)) / x[train].std(0, correction=0)).float()
    train_loader = DataLoader(TensorDataset(x[train], y[train]), batch_size=128, num_workers=0, shuffle=True)
    val_loader = DataLoader(TensorDataset(x[val], y[val]), batch_size=128, num_workers=0, shuffle=False)

    trainer = Trainer(
        default_root_dir="logs",
        min_epochs=1,
        max_epochs=args.epochs,
        devices=1,
        check_val_every_n_epoch=1,
        deterministic=False,
        logger=[CSVLogger("logs", name="csv/", prefix="")],
        callbacks=[
            ModelCheckpoint(
                dirpath="logs/checkpoints",
                filename="epoch_{epoch:03d}",
                monitor="val/acc",
                mode="max",
                save_last=True,
                auto_insert_metric_name=False,
            ),
            EarlyStopping(monitor="val/acc", patience=100, mode="max"),
            RichModelSummary(max_depth=-1),
            RichProgressBar(),
            Timed(),
        ],
    )
    trainer.fit(LitMLP(x.shape[1], int(y.max()) + 1), train_loader, val_loader)


if __name__ == "__main__":
    main()
