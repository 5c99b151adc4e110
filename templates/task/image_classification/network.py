"""The network: a small residual network, or any classifier of torchvision."""

from difflib import get_close_matches
from itertools import pairwise

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torchvision import models

from .engine.errors import InputError, require_positive

# Without the two that return auxiliary logits
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
        weights: Name of its pretrained weights, such as "DEFAULT", for `load_pretrained`.

    Raises:
        InputError: If torchvision has no such classifier, or no such weights for it.
    """

    def __init__(self, name: str, num_classes: int, weights: str | None = None) -> None:
        super().__init__()
        if name not in TORCHVISION:
            near = ", ".join(get_close_matches(name, TORCHVISION, n=5, cutoff=0))
            raise InputError(f"--model.network {name}: unknown; there are residual, {near} and others")
        known = models.get_model_weights(name).__members__
        if weights and weights not in known:
            raise InputError(f"--model.weights {weights}: unknown; {name} has {', '.join(known)}")
        self.weights = known[weights] if weights else None
        self.model = models.get_model(name, weights=None, num_classes=num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, 1 or 3, h, w) to logits (batch, num_classes)."""
        return self.model(x.expand(-1, 3, -1, -1))

    def load_pretrained(self) -> None:
        """Download the pretrained weights and load them, except where shapes differ, as in the last layer.

        Raises:
            InputError: If they cannot be downloaded.
        """
        if self.weights is None:
            return
        try:
            pretrained = self.weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except OSError as error:
            raise InputError(f"--model.weights: {self.weights.url} cannot be downloaded: {error}") from None
        own = self.model.state_dict()
        matching = {key: value for key, value in pretrained.items() if key in own and value.shape == own[key].shape}
        self.model.load_state_dict(matching, strict=False)
        rank_zero_info(f"pretrained weights for all but: {', '.join(own.keys() - matching.keys())}")


def make_network(
    name: str, in_channels: int, num_classes: int, width: int, depth: int, weights: str | None
) -> nn.Module:
    """Make the residual network of this file ("residual"), or a classifier of torchvision by its name.

    Raises:
        InputError: If there is no such network, or no such weights for it.
    """
    if name != "residual":
        return TorchvisionNet(name, num_classes, weights)
    if weights:
        raise InputError(f"--model.weights {weights}: only for a --model.network of torchvision, such as resnet18")
    return ResidualNet(in_channels, num_classes, width, depth)
