"""The loss on pairs, and the boundary that takes the output layer's place."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tunewise.backbones.loading import load_tokenizer
from tunewise.contracts import Need
from tunewise.errors import FitError
from tunewise.rng import Rng
from tunewise.testing import CPU, Toy, plain_embed, toy_inputs
from tunewise.training.batches import encode
from tunewise.training.classifier import new_classifier, probabilities
from tunewise.training.contrastive import fit_boundary, pair_loss


def test_the_loss_by_hand():
    """Vectors at 0, 60 and 90 degrees, the first two of one class: mean of (1/2 - 1)^2 and of 0 and 3/4."""
    vectors = torch.tensor([[2.0, 0.0], [1.0, 3**0.5], [0.0, 1.0]])

    assert pair_loss(vectors, torch.tensor([0, 0, 1])).item() == pytest.approx((0.25 + 0.375) / 2)


def test_the_loss_by_a_plain_loop():
    """Every pair once, the two kinds weighing the same."""
    with Rng(0).torch():
        vectors, labels = torch.randn(9, 5), torch.randint(0, 3, (9,))
    kinds = {True: [], False: []}
    for i, j in itertools.combinations(range(9), 2):
        cosine = torch.nn.functional.cosine_similarity(vectors[i], vectors[j], dim=0).item()
        is_same = bool(labels[i] == labels[j])
        kinds[is_same].append((cosine - is_same) ** 2)

    assert pair_loss(vectors, labels).item() == pytest.approx((np.mean(kinds[True]) + np.mean(kinds[False])) / 2, abs=1e-6)


def test_a_single_text_has_a_gradient_of_zero():
    """There is no pair, and the step is still taken."""
    vectors = torch.ones(1, 3, requires_grad=True)
    pair_loss(vectors, torch.tensor([0])).backward()

    assert vectors.grad.tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_boundary_is_logistic_regression_on_unit_vectors(tmp_path, n_classes):
    """The output layer gives scikit-learn's probabilities on features computed another way; absent classes get none."""
    inputs = toy_inputs(tmp_path, needs=frozenset({Need.TRUNK}), toy=Toy(n=60, n_classes=n_classes))
    backbone = inputs.runtime.backbone
    with Rng(0).torch():
        classifier = new_classifier(backbone, n_classes + 1, CPU, dropout=0.0).eval()
    tokenizer = load_tokenizer(backbone)
    wider = inputs.__class__(**{**vars(inputs), "classes": (*inputs.classes, "absent"), "class_weights": np.ones(n_classes + 1)})
    fit_boundary(classifier, encode(tokenizer, inputs.train.texts), wider, c=3.0)
    embed = plain_embed(backbone)
    model = LogisticRegression(C=3.0, max_iter=1000).fit(embed(inputs.train.texts), inputs.train.labels)
    found = probabilities(classifier, encode(tokenizer, inputs.development.texts), n_classes + 1)

    assert np.allclose(found[:, :-1], model.predict_proba(embed(inputs.development.texts)), atol=1e-3)
    assert not found[:, -1].any()


def test_one_class_is_refused(tmp_path):
    """A boundary needs two sides."""
    inputs = toy_inputs(tmp_path, needs=frozenset({Need.TRUNK}), toy=Toy(n=60))
    backbone = inputs.runtime.backbone
    inputs = inputs.__class__(**{**vars(inputs), "train": inputs.train.take(np.flatnonzero(inputs.train.labels == 0))})
    with Rng(0).torch():
        classifier = new_classifier(backbone, 2, CPU, dropout=0.0).eval()

    with pytest.raises(FitError, match="1 class"):
        fit_boundary(classifier, encode(load_tokenizer(backbone), inputs.train.texts), inputs, c=1.0)
