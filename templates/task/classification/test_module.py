"""The math: what is special about this model."""

import torch
from examples import make_batch, make_model
from torch import optim

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
