"""Classification of handwritten digits by hand.

    PYTHONPATH=<project>/src python benchmarks/by_hand/image_classification.py --epochs 20
    PYTHONPATH=<project>/src python benchmarks/by_hand/image_classification.py --epochs 20 --tricks

The network and the schedule of the learning rate are those of the rendered project, which are plain PyTorch. The
tricks: images are normalized a batch at a time, those for validation only once, and the optimizer is fused.
"""

import argparse
import math

import torch
from PIL import Image
from sklearn.datasets import load_digits
from speed_project.engine.schedule import warmup_cosine
from speed_project.network import ResidualNet
from split import split
from stopwatch import Stopwatch, device
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, Dataset
from torchmetrics.functional.classification import multiclass_f1_score
from torchvision.transforms import InterpolationMode, v2
from tricks import SlicedBatches

AUGMENT = v2.RandomAffine(degrees=10, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation=InterpolationMode.BILINEAR)
NORMALIZE = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.5])])


class Digits(Dataset[tuple[Tensor, Tensor]]):
    """Images with labels; each becomes one of Pillow's, as in torchvision's own datasets."""

    def __init__(self, images: Tensor, labels: Tensor, *transforms: v2.Transform) -> None:
        self.images, self.labels, self.transform = images, labels, v2.Compose(transforms)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(Image.fromarray(self.images[index, 0].numpy())), self.labels[index]


def main() -> None:
    """Train, and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tricks", action="store_true")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    where = device()
    digits = load_digits()
    images = torch.tensor(digits.images * (255 / 16)).round().to(torch.uint8)[:, None]
    labels = torch.tensor(digits.target)
    train, val = split(labels)

    transforms = [AUGMENT, v2.PILToTensor()] if args.tricks else [AUGMENT, v2.PILToTensor(), NORMALIZE]
    train_loader = DataLoader(Digits(images[train], labels[train], *transforms), batch_size=64, shuffle=True)
    if args.tricks:
        val_loader = SlicedBatches(NORMALIZE(images[val]).to(where), labels[val].to(where), batch_size=64)
    else:
        val_loader = DataLoader(Digits(images[val], labels[val], v2.PILToTensor(), NORMALIZE), batch_size=64)

    model = ResidualNet(in_channels=1, num_classes=10, width=32, depth=3).to(where)
    steps = args.epochs * len(train_loader)
    optimizer = optim.AdamW(model.parameters(), lr=0.003, weight_decay=0.01, fused=args.tricks)
    scheduler = warmup_cosine(optimizer, steps, warmup=0.05)
    criterion = nn.CrossEntropyLoss()
    best = math.inf
    stopwatch = Stopwatch()
    stopwatch.start()
    for epoch in range(args.epochs):
        model.train()
        for x, y in train_loader:
            x, y = x.to(where), y.to(where)
            loss = criterion(model(NORMALIZE(x) if args.tricks else x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()

        model.eval()
        logits, true = [], []
        with torch.no_grad():
            for x, y in val_loader:
                logits.append(model(x.to(where)))
                true.append(y.to(where))
        scores, classes = torch.cat(logits), torch.cat(true)
        val_loss = criterion(scores, classes).item()
        accuracy = (scores.argmax(dim=1) == classes).float().mean().item()
        f1 = multiclass_f1_score(scores, classes, num_classes=10).item()
        print(
            f"epoch {epoch + 1}: train_loss {loss.item():.4f}, val_loss {val_loss:.4f}, "
            f"accuracy {accuracy:.4f}, f1 {f1:.4f}"
        )
        if val_loss < best:
            best = val_loss
            torch.save(model.state_dict(), "best.pt")
    stopwatch.stop(val_loss, steps)


if __name__ == "__main__":
    main()
