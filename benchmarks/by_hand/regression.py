"""Linear regression by hand.

python benchmarks/by_hand/regression.py --epochs 5
python benchmarks/by_hand/regression.py --epochs 5 --tricks  # sliced batches, fused optimizer
"""

import argparse
import math

import numpy as np
import torch
from split import split
from stopwatch import Stopwatch, device
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset
from tricks import SlicedBatches


def read(path: str | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features (rows, columns) and targets (rows, 1): of scikit-learn's diabetes study, or of a CSV file."""
    if path is None:
        from sklearn.datasets import load_diabetes

        x, y = load_diabetes(return_X_y=True, scaled=False)
        return torch.tensor(x), torch.tensor(y)[:, None]
    table = torch.from_numpy(np.loadtxt(path, delimiter=",", skiprows=1))
    return table[:, :-1], table[:, -1:]


def main() -> None:
    """Train, and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--path")
    parser.add_argument("--batch_size", type=int, default=10)
    parser.add_argument("--tricks", action="store_true")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    where = device()
    x, y = read(args.path)
    train, val = split(torch.zeros(len(x)))
    x = ((x - x[train].mean(0)) / x[train].std(0, correction=0)).float()
    mean, std = y[train].mean().item(), y[train].std(correction=0).item()
    y = ((y - mean) / std).float()

    if args.tricks:
        x, y = x.to(where), y.to(where)
        train_loader = SlicedBatches(x[train], y[train], batch_size=args.batch_size, shuffle=True)
        val_loader = SlicedBatches(x[val], y[val], batch_size=4096)
    else:
        train_loader = DataLoader(TensorDataset(x[train], y[train]), batch_size=args.batch_size, shuffle=True)
        val_loader = DataLoader(TensorDataset(x[val], y[val]), batch_size=args.batch_size)

    model = nn.Linear(x.shape[1], 1).to(where)
    optimizer = optim.SGD(model.parameters(), lr=0.01, fused=args.tricks)
    criterion = nn.MSELoss()
    best = math.inf
    stopwatch = Stopwatch()
    stopwatch.start()
    for epoch in range(args.epochs):
        model.train()
        for xb, yb in train_loader:
            xb, yb = xb.to(where), yb.to(where)
            loss = criterion(model(xb), yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        model.eval()
        predicted, true = [], []
        with torch.no_grad():
            for xb, yb in val_loader:
                predicted.append(model(xb.to(where)))
                true.append(yb.to(where))
        error = torch.cat(predicted) - torch.cat(true)
        val_loss = error.square().mean().item()
        mae, rmse = std * error.abs().mean().item(), std * math.sqrt(val_loss)
        r2 = 1 - val_loss / torch.cat(true).var(correction=0).item()
        print(
            f"epoch {epoch + 1}: train_loss {loss.item():.4f}, val_loss {val_loss:.4f}, "
            f"mae {mae:.4f}, rmse {rmse:.4f}, r2 {r2:.4f}"
        )
        if val_loss < best:
            best = val_loss
            torch.save(model.state_dict(), "best.pt")
    stopwatch.stop(val_loss, args.epochs * len(train_loader))


if __name__ == "__main__":
    main()
