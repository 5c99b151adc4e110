"""Classification of tumors by hand.

    PYTHONPATH=<project>/src python benchmarks/by_hand/classification.py --epochs 20
    PYTHONPATH=<project>/src python benchmarks/by_hand/classification.py --epochs 20 --tricks  # as in regression.py

The network and the schedule of the learning rate are those of the rendered project, which are plain PyTorch.
"""

import argparse
import math

import torch
from sklearn.datasets import load_breast_cancer
from speed_project.engine.schedule import warmup_cosine
from speed_project.network import TableNet
from split import split
from stopwatch import Stopwatch, device
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.functional.classification import multiclass_auroc, multiclass_f1_score
from tricks import SlicedBatches


def main() -> None:
    """Train, and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--tricks", action="store_true")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    where = device()
    study = load_breast_cancer()
    x, y = (
        torch.tensor(study.data),
        1 - torch.tensor(study.target),
    )  # benign is class 0: names are in alphabetical order
    train, val = split(y)
    x = ((x - x[train].mean(0)) / x[train].std(0, correction=0)).float()
    codes = torch.empty(len(x), 0, dtype=torch.long)  # there are no columns of categories

    if args.tricks:
        x, codes, y = x.to(where), codes.to(where), y.to(where)
        train_loader = SlicedBatches(x[train], codes[train], y[train], batch_size=args.batch_size, shuffle=True)
        val_loader = SlicedBatches(x[val], codes[val], y[val], batch_size=4096)
    else:
        dataset = TensorDataset(x[train], codes[train], y[train])
        train_loader = DataLoader(dataset, batch_size=args.batch_size, shuffle=True)
        val_loader = DataLoader(TensorDataset(x[val], codes[val], y[val]), batch_size=args.batch_size)

    model = TableNet(x.shape[1], (), 2, hidden=(64, 64), dropout=0.1).to(where)
    steps = args.epochs * len(train_loader)
    optimizer = optim.AdamW(model.parameters(), lr=0.003, weight_decay=0.01, fused=args.tricks)
    scheduler = warmup_cosine(optimizer, steps, warmup=0.05)
    criterion = nn.CrossEntropyLoss()
    best = math.inf
    stopwatch = Stopwatch()
    stopwatch.start()
    for epoch in range(args.epochs):
        model.train()
        for batch in train_loader:
            xb, cb, yb = (tensor.to(where) for tensor in batch)
            loss = criterion(model(xb, cb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()

        model.eval()
        logits, labels = [], []
        with torch.no_grad():
            for batch in val_loader:
                xb, cb, yb = (tensor.to(where) for tensor in batch)
                logits.append(model(xb, cb))
                labels.append(yb)
        scores, true = torch.cat(logits), torch.cat(labels)
        val_loss = criterion(scores, true).item()
        accuracy = (scores.argmax(dim=1) == true).float().mean().item()
        f1 = multiclass_f1_score(scores, true, num_classes=2).item()
        auroc = multiclass_auroc(scores, true, num_classes=2).item()
        print(
            f"epoch {epoch + 1}: train_loss {loss.item():.4f}, val_loss {val_loss:.4f}, "
            f"accuracy {accuracy:.4f}, f1 {f1:.4f}, auroc {auroc:.4f}"
        )
        if val_loss < best:
            best = val_loss
            torch.save(model.state_dict(), "best.pt")
    stopwatch.stop(val_loss, steps)


if __name__ == "__main__":
    main()
