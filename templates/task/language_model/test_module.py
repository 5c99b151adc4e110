"""The math: what every change to the model must keep."""

from typing import Any

import pytest
import torch
from torch import Tensor, optim

from lit_project.engine.errors import InputError
from lit_project.module import LitModel


def _batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    tokens = torch.randint(0, 50, (4, 17))
    return tokens[:, :-1], tokens[:, 1:]


def _model(lr: float = 0.003) -> LitModel:
    torch.manual_seed(0)
    return LitModel(vocab_size=50, block_size=16, layers=2, heads=2, width=32, dropout=0.0, lr=lr, new_tokens=8)


def test_the_output_has_the_documented_shape() -> None:
    x, _ = _batch()
    assert _model()(x).shape == (4, 16, 50)
    assert _model()(x[:1, :3]).shape == (1, 3, 50)


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
    for _ in range(150):
        loss = model.training_step(_batch(), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_the_hyper_parameters_are_plain_values() -> None:
    hparams = dict(_model(lr=0.5).hparams)
    assert {name: hparams[name] for name in ("vocab_size", "width", "lr")} == {"vocab_size": 50, "width": 32, "lr": 0.5}
    assert {type(value) for value in hparams.values()} <= {int, float, str}


def test_new_data_needs_no_target() -> None:
    x, _ = _batch()
    prompt, continuation = _model().predict_step(x, 0)
    assert torch.equal(prompt, x)
    assert continuation.shape == (4, 8)


def test_no_token_knows_what_follows() -> None:
    x, _ = _batch()
    model = _model().eval()
    changed = x.clone()
    changed[:, 8:] = 0
    torch.testing.assert_close(model(changed)[:, :8], model(x)[:, :8])
    assert not torch.allclose(model(changed)[:, 8:], model(x)[:, 8:])


def test_the_default_has_ten_million_parameters() -> None:
    assert sum(parameter.numel() for parameter in LitModel().parameters()) == pytest.approx(10.7e6, rel=0.02)


def test_a_token_is_read_and_written_by_the_same_vector() -> None:
    matrices = [name for name, value in _model().state_dict().items() if 50 in value.shape]
    assert matrices == ["network.tokens.weight"]


def test_chance_follows_its_generator() -> None:
    x, _ = _batch()
    model = _model().eval()
    a, b, c = (model.generate(x, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    model.top_k = 1
    likeliest = model(x)[:, -1].argmax(dim=-1)
    assert torch.equal(model.generate(x)[:, 16], likeliest)


def test_heads_that_do_not_divide_the_width_are_named() -> None:
    with pytest.raises(InputError, match=r"--model\.width 32 cannot be divided into 5 equal --model\.heads"):
        LitModel(width=32, heads=5)


@pytest.mark.parametrize("name", ["layers", "heads", "width", "temperature", "top_k"])
def test_numbers_of_which_no_model_can_be_made_are_named(name: str) -> None:
    settings: dict[str, Any] = {name: 0}
    with pytest.raises(InputError, match=rf"--model\.{name} 0: it must be above 0"):
        LitModel(**settings)
