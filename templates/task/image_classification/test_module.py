"""The math: what every change to the model must keep."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, optim
from torchvision import models

from lit_project.engine.errors import InputError
from lit_project.module import LitModel


def _batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(10, 1, 8, 8), torch.arange(10)


def _model(lr: float = 0.01) -> LitModel:
    torch.manual_seed(0)
    return LitModel(width=8, lr=lr)


def test_the_output_has_the_documented_shape() -> None:
    x, _ = _batch()
    assert _model()(x).shape == (10, 10)
    assert LitModel(in_channels=3, num_classes=2, depth=1)(torch.randn(4, 3, 17, 9)).shape == (4, 2)
    assert LitModel(num_classes=3, network="mobilenet_v3_small")(x).shape == (10, 3)


def test_every_parameter_gets_a_gradient() -> None:
    model = _model()
    model.training_step(_batch(), 0).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_one_batch_can_be_learnt_by_heart() -> None:
    model = _model()
    optimizer = model.configure_optimizers()
    assert isinstance(optimizer, optim.Optimizer)
    losses = []
    for _ in range(40):
        loss = model.training_step(_batch(), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]


def test_the_hyper_parameters_are_plain_values() -> None:
    hparams = dict(_model(lr=0.5).hparams)
    assert {name: hparams[name] for name in ("in_channels", "network", "lr")} == {
        "in_channels": 1,
        "network": "residual",
        "lr": 0.5,
    }
    assert {type(value) for value in hparams.values()} <= {int, float, str, type(None)}


def test_new_data_needs_no_target() -> None:
    x, _ = _batch()
    model = _model().eval()
    y_hat, rows = model.predict_step((x, torch.arange(10)), 0)
    assert torch.equal(y_hat, model(x))
    assert torch.equal(rows, torch.arange(10))


@pytest.fixture
def pretrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Put weights where torchvision keeps what it has fetched."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / Path(models.get_model_weights("resnet18").DEFAULT.url).name
    file.parent.mkdir(parents=True)
    weights = models.get_model("resnet18").state_dict()  # with a last layer for 1,000 classes
    torch.save(weights, file)
    return weights


def test_a_network_may_begin_with_what_torchvision_has_trained(pretrained: dict[str, Tensor]) -> None:
    weights = LitModel(num_classes=3, network="resnet18", weights="DEFAULT").network.state_dict()
    new = [name for name, value in weights.items() if not torch.equal(value, pretrained[name])]
    assert new == ["fc.weight", "fc.bias"]


def test_a_checkpoint_needs_no_weights_of_torchvision(pretrained: dict[str, Tensor]) -> None:
    model = LitModel(network="resnet18", weights="DEFAULT")
    assert model.hparams["weights"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "resnet81"}, r"--model\.network resnet81: .* resnet18, "),
        ({"network": "resnet18", "weights": "BEST"}, "--model.weights BEST: resnet18 has IMAGENET1K_V1, DEFAULT"),
        ({"weights": "DEFAULT"}, "--model.weights DEFAULT: those are torchvision's"),
    ],
)
def test_a_network_that_does_not_exist_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LitModel(**arguments)


def test_weights_that_cannot_be_fetched_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    with pytest.raises(InputError, match=r"resnet18-.*\.pth cannot be fetched: .*no network"):
        LitModel(network="resnet18", weights="DEFAULT")
