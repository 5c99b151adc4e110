"""The math: what every change to the model must keep."""

import torch
from torch import Tensor, optim

from lit_project.module import LitModel


def _batch() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    codes = torch.stack([torch.arange(10) % 4, torch.arange(10) % 3], dim=1)
    return torch.randn(10, 5), codes, torch.arange(10) % 3


def _model(lr: float = 0.01) -> LitModel:
    torch.manual_seed(0)
    return LitModel(in_features=5, cardinalities=[3, 2], num_classes=3, dropout=0.0, lr=lr)


def test_the_output_has_the_documented_shape() -> None:
    numbers, codes, _ = _batch()
    assert _model()(numbers, codes).shape == (10, 3)
    assert LitModel(in_features=5, hidden=[])(numbers, codes[:, :0]).shape == (10, 2)
    assert LitModel(in_features=0, cardinalities=[3, 2])(numbers[:, :0], codes).shape == (10, 2)


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
    for _ in range(100):
        loss = model.training_step(_batch(), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]


def test_the_hyper_parameters_are_plain_values() -> None:
    hparams = dict(_model(lr=0.5).hparams)
    assert {name: hparams[name] for name in ("in_features", "cardinalities", "lr")} == {
        "in_features": 5,
        "cardinalities": [3, 2],
        "lr": 0.5,
    }
    assert {type(value) for value in hparams.values()} <= {int, float, str, list, tuple}


def test_new_data_needs_no_target() -> None:
    numbers, codes, _ = _batch()
    model = _model()
    assert torch.equal(model.predict_step((numbers, codes), 0), model(numbers, codes))


def test_what_training_never_saw_stays_a_vector_of_zeros() -> None:
    model = _model(lr=0.1)
    optimizer = model.configure_optimizers()
    assert isinstance(optimizer, optim.Optimizer)
    model.training_step(_batch(), 0).backward()
    optimizer.step()
    for embedding in model.network.embeddings:
        assert not embedding(torch.tensor(0)).any()
        assert embedding(torch.tensor(1)).any()
