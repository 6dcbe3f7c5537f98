"""SetFit: texts of one class draw together, and few labels suffice."""

import numpy as np
import pytest
import torch

from tunewise.methods.finetune.setfit import METHOD, SetfitSettings, fit
from tunewise.rng import Rng
from tunewise.testing import Toy, plain_embed, toy_inputs
from tunewise.training.batches import collate, encode


def separation(vectors, labels):
    """Return how much more alike texts of one class are than others, as a difference of mean cosines."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine, is_same = unit @ unit.T, labels[:, None] == labels
    return cosine[is_same].mean() - cosine[~is_same].mean()


def test_classes_draw_apart(tmp_path):
    """On development rows, which the pairs did not hold, classes lie further apart than in the backbone."""
    inputs = toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(epochs=2))
    predictor = fit(inputs, SetfitSettings(learning_rate=1e-3), rng=Rng(0))
    part = inputs.development
    with torch.no_grad():
        after = predictor.classifier.vectors(collate(encode(predictor.tokenizer, part.texts), np.arange(len(part)), "cpu"))

    assert separation(after.numpy(), part.labels) > 2 * separation(plain_embed(inputs.runtime.backbone)(part.texts), part.labels)


def test_every_weight_is_stored(tmp_path):
    """All of the backbone and the boundary."""
    inputs = toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(epochs=1))
    predictor = fit(inputs, SetfitSettings(min_steps=3), rng=Rng(0))

    assert predictor.n_trained_parameters == predictor.n_total_parameters == inputs.runtime.backbone.n_parameters + 32 * 2 + 2


@pytest.mark.parametrize("n", [20])
def test_a_dozen_labels_suffice(tmp_path, n):
    """Twelve training rows of two classes give far better than chance on rows of their own."""
    inputs = toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(n=n, epochs=1))
    rest = toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(n=200), backbone=inputs.runtime.backbone, seed=5).train
    predictor = fit(inputs, SetfitSettings(learning_rate=1e-3), rng=Rng(0))

    assert (predictor.predict(rest.texts).argmax(1) == rest.labels).mean() > 0.75
