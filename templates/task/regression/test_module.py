"""The math: what is special about this model."""

import torch
from examples import make_batch

from lit_project.module import LitModel


def test_output_has_the_documented_shape() -> None:
    x, _ = make_batch()
    assert LitModel()(x).shape == (10, 1)
    assert LitModel(in_features=3, out_features=2)(x[:, :3]).shape == (10, 2)
    assert LitModel(hidden=[8, 4])(x).shape == (10, 1)


def test_prediction_needs_no_target() -> None:
    x, _ = make_batch()
    model = LitModel()
    assert torch.equal(model.predict_step(x, 0), model(x))


def test_errors_are_in_the_unit_of_the_target() -> None:
    x, y = make_batch()
    model = LitModel(target_std=77.0)
    model.validation_step((x, y), 0)
    torch.testing.assert_close(model.val_metrics.compute()["val_mae"], 77 * (model(x) - y).abs().mean())
