"""The network: a small residual network, or any classifier of torchvision."""

from difflib import get_close_matches
from itertools import pairwise

from torch import Tensor, nn
from torchvision import models

from .engine.errors import InputError, require_positive

# These two return more than logits.
TORCHVISION = sorted({*models.list_models(module=models)} - {"googlenet", "inception_v3"})


class ResidualBlock(nn.Module):
    """Two convolutions with a residual connection; where the width changes, they halve the resolution.

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
        in_channels: Color channels.
        num_classes: Number of classes.
        width: Channels of the first block; every later one doubles them and halves the resolution.
        depth: Number of blocks.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int, depth: int) -> None:
        super().__init__()
        require_positive("model", width=width, depth=depth)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        widths = [width, *(width * 2**block for block in range(depth))]
        self.blocks = nn.ModuleList(ResidualBlock(*pair) for pair in pairwise(widths))
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, h, w) to logits (batch, num_classes)."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(dim=(2, 3)))


class TorchvisionNet(nn.Module):
    """A classifier of torchvision, which sees grayscale images as RGB.

    Args:
        name: Its name, such as "resnet18".
        num_classes: Number of classes.

    Raises:
        InputError: If torchvision has no classifier of this name.
    """

    def __init__(self, name: str, num_classes: int) -> None:
        super().__init__()
        if name not in TORCHVISION:
            near = ", ".join(get_close_matches(name, TORCHVISION, n=5, cutoff=0))
            raise InputError(f"--model.network {name}: unknown; there are residual, {near} and others")
        self.name = name
        self.model = models.get_model(name, weights=None, num_classes=num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, 1 or 3, h, w) to logits (batch, num_classes)."""
        return self.model(x.expand(-1, 3, -1, -1))

    def load_pretrained(self, weights: str) -> None:
        """Load weights of torchvision, except where shapes differ, as in the last layer.

        Args:
            weights: Their name, such as "DEFAULT".

        Raises:
            InputError: If there are no such weights, or they cannot be downloaded.
        """
        known = models.get_model_weights(self.name).__members__
        if weights not in known:
            raise InputError(f"--model.weights {weights}: unknown; {self.name} has {', '.join(known)}")
        try:
            pretrained = known[weights].get_state_dict(progress=False)
        except OSError as error:
            raise InputError(f"--model.weights {weights}: {known[weights].url} cannot be downloaded: {error}") from None
        own = self.model.state_dict()
        matching = {key: value for key, value in pretrained.items() if key in own and value.shape == own[key].shape}
        self.model.load_state_dict(matching, strict=False)


def make_network(name: str, in_channels: int, num_classes: int, width: int, depth: int) -> nn.Module:
    """Make the residual network of this file ("residual"), or a classifier of torchvision by its name."""
    if name == "residual":
        return ResidualNet(in_channels, num_classes, width, depth)
    return TorchvisionNet(name, num_classes)
