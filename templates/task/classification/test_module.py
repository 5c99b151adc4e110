"""The math: what is special about this model."""

import pytest
import torch
from examples import make_batch, make_model
from torch import optim
from torch.nn.functional import one_hot

from lit_project.module import LitModel


def test_output_has_the_documented_shape() -> None:
    numbers, codes, _ = make_batch()
    assert make_model()(numbers, codes).shape == (10, 3)
    assert LitModel(in_features=5, hidden=[])(numbers, codes[:, :0]).shape == (10, 2)
    assert LitModel(in_features=0, cardinalities=[3, 2])(numbers[:, :0], codes).shape == (10, 2)


def test_prediction_needs_no_target() -> None:
    numbers, codes, _ = make_batch()
    model = make_model()
    assert torch.equal(model.predict_step((numbers, codes), 0), model(numbers, codes))


def test_embedding_of_an_unseen_category_stays_zero() -> None:
    model = make_model(lr=0.1)
    optimizer = model.configure_optimizers()
    assert isinstance(optimizer, optim.Optimizer)
    model.training_step(make_batch(), 0).backward()
    optimizer.step()
    for embedding in model.network.embeddings:
        assert not embedding(torch.tensor(0)).any()
        assert embedding(torch.tensor(1)).any()


def test_classes_are_weighted_in_the_loss() -> None:
    numbers, codes, y = make_batch()
    model = make_model()
    weighted = LitModel(in_features=5, cardinalities=[3, 2], num_classes=3, dropout=0.0, class_weights=[0.0, 0.0, 2.0])
    weighted.load_state_dict(model.state_dict(), strict=False)
    rare = y == 2
    expected = model.training_step((numbers[rare], codes[rare], y[rare]), 0)
    torch.testing.assert_close(weighted.training_step((numbers, codes, y), 0), expected)


def test_positive_class_gets_its_own_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, codes, y = make_batch()
    assert make_model().val_positive is None
    model = LitModel(in_features=5, cardinalities=[3, 2], num_classes=3, positive_class=2)
    predicted = torch.where(torch.arange(10) == 2, 0, y)  # misses one of three, and is right otherwise
    monkeypatch.setattr(model, "forward", lambda *_: 9.0 * one_hot(predicted, 3))
    model.validation_step((numbers, codes, y), 0)
    assert model.val_positive is not None
    metrics = model.val_positive.compute()
    assert (metrics["val_precision"], metrics["val_recall"]) == (1, pytest.approx(2 / 3))
    assert 2 / 3 < metrics["val_average_precision"] < 1
