"""The math: what is special about this model."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from examples import make_batch, make_model
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchvision import models

from lit_project.engine.errors import InputError
from lit_project.module import LitModel
from lit_project.network import TorchvisionNet


def test_output_has_the_documented_shape() -> None:
    x, _ = make_batch()
    assert make_model()(x).shape == (10, 10)
    assert LitModel(in_channels=3, num_classes=2, depth=1)(torch.randn(4, 3, 17, 9)).shape == (4, 2)
    assert LitModel(num_classes=3, network="mobilenet_v3_small")(x).shape == (10, 3)


def test_prediction_needs_no_target() -> None:
    x, _ = make_batch()
    model = make_model().eval()
    assert torch.equal(model.predict_step(x, 0), model(x))


def test_class_weights_weigh_the_loss() -> None:
    x, y = make_batch()
    weights = torch.linspace(0.1, 1.9, 10)
    torch.manual_seed(0)
    model = LitModel(width=8, lr=0.01, class_weights=weights.tolist())
    each = cross_entropy(make_model()(x), y, reduction="none")
    torch.testing.assert_close(model.training_step((x, y), 0), (weights[y] * each).sum() / weights[y].sum())


@pytest.fixture
def pretrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Put weights where torchvision keeps its downloads."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / Path(models.get_model_weights("resnet18").DEFAULT.url).name
    file.parent.mkdir(parents=True)
    weights = models.get_model("resnet18").state_dict()  # with a last layer for 1,000 classes
    torch.save(weights, file)
    return weights


def test_network_can_start_from_pretrained_weights(pretrained: dict[str, Tensor]) -> None:
    network = TorchvisionNet("resnet18", num_classes=3, weights="DEFAULT")
    network.load_pretrained()
    new = [name for name, value in network.model.state_dict().items() if not torch.equal(value, pretrained[name])]
    assert new == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize(
    ("subcommand", "resumed", "loads"), [("fit", None, 1), ("fit", "a.ckpt", 0), ("test", None, 0)]
)
def test_pretrained_weights_are_loaded_only_for_new_training(
    subcommand: str, resumed: str | None, loads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[TorchvisionNet] = []
    monkeypatch.setattr(TorchvisionNet, "load_pretrained", lambda network: loaded.append(network))
    model = LitModel(network="resnet18", weights="DEFAULT")
    monkeypatch.setattr(LitModel, "trainer", type("Resumed", (), {"ckpt_path": resumed}))
    model.setup(subcommand)
    assert loaded == [model.network] * loads


def test_unknown_network_is_refused() -> None:
    with pytest.raises(InputError, match=r"--model\.network resnet81: unknown; there are residual, .*resnet18"):
        LitModel(network="resnet81")


def test_unknown_weights_are_refused() -> None:
    with pytest.raises(InputError, match=r"--model\.weights BEST: unknown; resnet18 has IMAGENET1K_V1, DEFAULT"):
        LitModel(network="resnet18", weights="BEST")


def test_weights_need_a_network_of_torchvision() -> None:
    with pytest.raises(InputError, match=r"--model\.weights DEFAULT: only for a --model\.network of torchvision"):
        LitModel(weights="DEFAULT")


def test_failed_download_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **kwargs: Any) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    with pytest.raises(InputError, match=r"resnet18-.*\.pth cannot be downloaded: .*no network"):
        TorchvisionNet("resnet18", num_classes=3, weights="DEFAULT").load_pretrained()
