"""The math: what is special about this model."""

import torch
from examples import make_batch

from lit_project.module import LitModel


def test_output_has_the_documented_shape() -> None:
    x, _ = make_batch()
    assert LitModel()(x).shape == (10, 1)
    assert LitModel(in_features=3, target_names=["a", "b"])(x[:, :3]).shape == (10, 2)
    assert LitModel(hidden=[8, 4])(x).shape == (10, 1)


def test_prediction_needs_no_target() -> None:
    x, _ = make_batch()
    model = LitModel()
    assert torch.equal(model.predict_step(x, 0), model(x))


def test_errors_are_in_the_unit_of_the_target() -> None:
    x, y = make_batch()
    model = LitModel(target_mean=[5.0], target_std=[77.0])
    model.validation_step((x, y), 0)
    torch.testing.assert_close(_mae(model), 77 * (model(x) - y).abs().mean())


def test_errors_are_in_the_unit_of_a_target_learned_as_a_logarithm() -> None:
    x, y = make_batch()
    model = LitModel(target_mean=[1.0], target_std=[0.5], log_target=True)
    model.validation_step((x, y), 0)
    torch.testing.assert_close(_mae(model), ((model(x) / 2 + 1).expm1() - (y / 2 + 1).expm1()).abs().mean())


def test_every_target_has_its_own_errors() -> None:
    x, y = make_batch()
    model = LitModel(target_names=["a", "b"], target_mean=[0.0, 0.0], target_std=[1.0, 100.0])
    y = y.expand(-1, 2)
    model.validation_step((x, y), 0)
    for number, (name, std) in enumerate({"a": 1, "b": 100}.items()):
        expected = std * (model(x) - y)[:, number].abs().mean()
        torch.testing.assert_close(_mae(model, number, f"_{name}"), expected)


def _mae(model: LitModel, number: int = 0, suffix: str = "") -> torch.Tensor:
    mae: torch.Tensor = model.val_metrics[number].compute()[f"val_mae{suffix}"]  # type: ignore[operator]
    return mae
