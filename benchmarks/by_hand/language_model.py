"""A small language model by hand, in the size of configs/smoke.yaml.

    PYTHONPATH=<project>/src python benchmarks/by_hand/language_model.py --epochs 3
    PYTHONPATH=<project>/src python benchmarks/by_hand/language_model.py --epochs 3 --tricks  # as in regression.py

The network and the schedule of the learning rate are those of the rendered project, which are plain PyTorch.
"""

import argparse
import math
from itertools import islice
from pydoc_data.topics import topics

import torch
from speed_project.engine.schedule import warmup_cosine
from speed_project.network import Transformer
from stopwatch import Stopwatch, device
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset
from tricks import SlicedBatches

BLOCK, BATCH = 64, 12
TRAIN_BATCHES, VAL_BATCHES = 100, 20  # per epoch


def main() -> None:
    """Train, and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tricks", action="store_true")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    where = device()
    text = "\n\n".join(topics.values())
    characters = sorted(set(text))
    number = {character: token for token, character in enumerate(characters)}
    tokens = torch.tensor([number[character] for character in text])
    tenth = round(0.1 * len(tokens))
    parts = tokens[: -2 * tenth], tokens[-2 * tenth : -tenth]  # for training and for validation
    # Blocks of 64 tokens, and the same shifted by one
    train, val = (part.unfold(0, BLOCK + 1, BLOCK) for part in parts)

    if args.tricks:
        train, val = train.to(where), val.to(where)
        train_loader = SlicedBatches(train[:, :-1], train[:, 1:], batch_size=BATCH, shuffle=True)
        val_loader = SlicedBatches(val[:, :-1], val[:, 1:], batch_size=BATCH)
    else:
        train_loader = DataLoader(TensorDataset(train[:, :-1], train[:, 1:]), batch_size=BATCH, shuffle=True)
        val_loader = DataLoader(TensorDataset(val[:, :-1], val[:, 1:]), batch_size=BATCH)

    model = Transformer(len(characters), BLOCK, layers=4, heads=4, width=128, dropout=0.0).to(where)
    steps = args.epochs * TRAIN_BATCHES
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = optim.AdamW(groups, lr=0.001, betas=(0.9, 0.99), fused=args.tricks)
    scheduler = warmup_cosine(optimizer, steps, warmup=0.05)
    criterion = nn.CrossEntropyLoss()
    best = math.inf
    stopwatch = Stopwatch()
    stopwatch.start()
    for epoch in range(args.epochs):
        model.train()
        for x, y in islice(train_loader, TRAIN_BATCHES):
            x, y = x.to(where), y.to(where)
            loss = criterion(model(x).flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()

        model.eval()
        losses = []
        with torch.no_grad():
            for x, y in islice(val_loader, VAL_BATCHES):
                x, y = x.to(where), y.to(where)
                losses.append(criterion(model(x).flatten(0, 1), y.flatten()))
        val_loss = torch.stack(losses).mean().item()  # all batches are full
        print(
            f"epoch {epoch + 1}: train_loss {loss.item():.4f}, val_loss {val_loss:.4f}, "
            f"perplexity {math.exp(val_loss):.4f}"
        )
        if val_loss < best:
            best = val_loss
            torch.save(model.state_dict(), "best.pt")
    stopwatch.stop(val_loss, steps)


if __name__ == "__main__":
    main()
