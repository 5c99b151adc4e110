"""The math: what every change to the model must keep."""

import torch
from torch import Tensor

from lit_project.module import LitModel


def _batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(10, 10)
    return x, x @ torch.randn(10, 1)


def test_one_prediction_per_row() -> None:
    x, _ = _batch()
    assert LitModel()(x).shape == (10, 1)
    assert LitModel(in_features=3, out_features=2)(x[:, :3]).shape == (10, 2)


def test_every_parameter_gets_a_gradient() -> None:
    model = LitModel()
    model.training_step(_batch(), 0).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_one_batch_can_be_learnt_by_heart() -> None:
    torch.manual_seed(0)
    model = LitModel(lr=0.1)
    optimizer = model.configure_optimizers()
    losses = []
    for _ in range(500):
        loss = model.training_step(_batch(), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]


def test_the_hyper_parameters_are_plain_values() -> None:
    hparams = LitModel(in_features=3, lr=0.5).hparams
    assert dict(hparams) == {"in_features": 3, "out_features": 1, "lr": 0.5}


def test_new_data_needs_no_target() -> None:
    x, _ = _batch()
    model = LitModel()
    assert torch.equal(model.predict_step((x,), 0), model(x))
