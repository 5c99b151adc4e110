"""The math: what every change to the model must keep."""

import torch
from torch import Tensor, optim

from lit_project.module import LitModel


def _batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(10, 10)
    return x, x @ torch.randn(10, 1)


def test_the_output_has_the_documented_shape() -> None:
    x, _ = _batch()
    assert LitModel()(x).shape == (10, 1)
    assert LitModel(in_features=3, out_features=2)(x[:, :3]).shape == (10, 2)
    assert LitModel(hidden=[8, 4])(x).shape == (10, 1)


def test_every_parameter_gets_a_gradient() -> None:
    model = LitModel(hidden=[64])
    model.training_step(_batch(), 0).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_one_batch_can_be_learnt_by_heart() -> None:
    torch.manual_seed(0)
    model = LitModel(lr=0.1)
    optimizer = model.configure_optimizers()
    assert isinstance(optimizer, optim.Optimizer)
    losses = []
    for _ in range(500):
        loss = model.training_step(_batch(), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]


def test_the_hyper_parameters_are_plain_values() -> None:
    hparams = dict(LitModel(in_features=3, hidden=[8], lr=0.5).hparams)
    assert {name: hparams[name] for name in ("in_features", "hidden", "lr")} == {
        "in_features": 3,
        "hidden": [8],
        "lr": 0.5,
    }
    assert {type(value) for value in hparams.values()} <= {int, float, str, list}


def test_new_data_needs_no_target() -> None:
    x, _ = _batch()
    model = LitModel()
    assert torch.equal(model.predict_step((x,), 0), model(x))


def test_errors_are_in_the_unit_of_the_target() -> None:
    x, y = _batch()
    model = LitModel(target_std=77.0)
    model.validation_step((x, y), 0)
    torch.testing.assert_close(model.val_metrics.compute()["val_mae"], 77 * (model(x) - y).abs().mean())
