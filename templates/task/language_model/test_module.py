"""The math: what is special about this model."""

from typing import Any

import pytest
import torch
from examples import make_batch, make_model

from lit_project.data.text import Prompt
from lit_project.engine.errors import InputError
from lit_project.module import LitModel


def test_output_has_the_documented_shape() -> None:
    x, _ = make_batch()
    assert make_model()(x).shape == (4, 16, 50)
    assert make_model()(x[:1, :3]).shape == (1, 3, 50)


def test_prediction_needs_no_target() -> None:
    x, _ = make_batch()
    prompt, continuation = make_model().predict_step(Prompt(x, new_tokens=8, temperature=1.0, top_k=50), 0)
    assert torch.equal(prompt, x)
    assert continuation.shape == (4, 8)


def test_no_token_sees_later_tokens() -> None:
    x, _ = make_batch()
    model = make_model().eval()
    changed = x.clone()
    changed[:, 8:] = 0
    torch.testing.assert_close(model(changed)[:, :8], model(x)[:, :8])
    assert not torch.allclose(model(changed)[:, 8:], model(x)[:, 8:])


def test_default_model_has_ten_million_parameters() -> None:
    assert sum(parameter.numel() for parameter in LitModel().parameters()) == pytest.approx(10.7e6, rel=0.02)


def test_embeddings_are_tied() -> None:
    matrices = [name for name, value in make_model().state_dict().items() if 50 in value.shape]
    assert matrices == ["network.tokens.weight"]


def test_sampling_follows_its_generator() -> None:
    x, _ = make_batch()
    network = make_model().eval().network
    a, b, c = (network.generate(x, 8, 1.0, 50, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    likeliest = network(x)[:, -1].argmax(dim=-1)
    assert torch.equal(network.generate(x, 1, 1.0, top_k=1)[:, 16], likeliest)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(InputError, match=r"--model\.width 32 must be divisible by --model\.heads 5"):
        LitModel(width=32, heads=5)


@pytest.mark.parametrize("name", ["layers", "heads", "width"])
def test_sizes_that_make_no_model_are_refused(name: str) -> None:
    settings: dict[str, Any] = {name: 0}
    with pytest.raises(InputError, match=rf"--model\.{name} 0: must be above 0"):
        LitModel(**settings)


def test_keys_and_values_of_earlier_tokens_are_computed_once_and_change_nothing() -> None:
    network = make_model().network.eval()
    x = make_batch()[0]
    caches: list[list[torch.Tensor]] = [[] for _ in network.blocks]
    parts = [network(x[:, :4], caches), *(network(x[:, at : at + 1], caches) for at in range(4, x.shape[1]))]
    torch.testing.assert_close(torch.cat(parts, dim=1), network(x))
    tokens = x[:, :10]
    for _ in range(24):  # beyond the context length of 16
        tokens = torch.cat([tokens, network(tokens[:, -16:])[:, -1:].argmax(dim=-1)], dim=1)
    seen = []
    network.blocks[0].register_forward_pre_hook(lambda block, inputs: seen.append(inputs[0].shape[1]))
    assert torch.equal(network.generate(x[:, :10], 24, 1.0, top_k=1), tokens)
    assert seen == [10, 1, 1, 1, 1, 1, 1, *[16] * 17]
