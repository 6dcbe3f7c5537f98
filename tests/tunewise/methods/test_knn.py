"""k nearest neighbours: votes counted by hand, and the whole against a plain loop."""

import numpy as np
import pytest

from tunewise.methods.frozen.knn import KnnSettings, Neighbours, fit
from tunewise.rng import Rng


def test_three_votes_by_hand():
    """Of the three nearest to (1, 0), two are of class 1: one third and two thirds."""
    vectors = np.array([[1, 0], [0.9, 0.1], [0.8, 0.2], [0, 1], [-1, 0]], dtype=np.float32)
    stored = Neighbours(vectors, np.array([0, 1, 1, 0, 0]), np.ones(2), k=3)

    assert stored.probabilities(np.array([[1, 0]], dtype=np.float32))[0] == pytest.approx([1 / 3, 2 / 3])


def test_a_vote_weighs_what_its_class_weighs():
    """With class 0 at weight 4 and class 1 at 1, one vote against two is 4 to 2."""
    vectors = np.array([[1, 0], [0.9, 0.1], [0.8, 0.2]], dtype=np.float32)
    stored = Neighbours(vectors, np.array([0, 1, 1]), np.array([4.0, 1.0]), k=3)

    assert stored.probabilities(np.array([[1, 0]], dtype=np.float32))[0] == pytest.approx([4 / 6, 2 / 6])


def test_a_plain_loop_agrees():
    """600 texts in several chunks get the votes that sorting one by one gives."""
    rng = np.random.default_rng(0)
    vectors, features = (rng.normal(size=(n, 8)).astype(np.float32) for n in (100, 600))
    labels = rng.integers(0, 4, 100)
    probabilities = Neighbours(vectors, labels, np.ones(4), k=7).probabilities(features)

    for feature, found in zip(features, probabilities, strict=True):
        nearest = sorted(range(100), key=lambda i: -float(vectors[i] @ feature))[:7]
        votes = [sum(labels[i] == k for i in nearest) / 7 for k in range(4)]
        assert found == pytest.approx(votes)


def test_k_is_chosen_on_development_rows(inputs_of):
    """A mislabelled neighbour decides at k = 1 and is outvoted at k = 3; a k above the rows takes them all."""
    train = [[1, 0], [0.99, 0.1], [0.98, 0.15], [0, 1], [0.1, 0.99], [0.15, 0.98]]
    inputs = inputs_of(train, [1, 0, 0, 1, 1, 1], [[1, 0.01], [0.01, 1]], [0, 1])

    assert fit(inputs, KnnSettings(k=[1, 3]), rng=Rng(0)).chosen == {"k": 3}
    assert fit(inputs, KnnSettings(k=[99]), rng=Rng(0)).predict(["1,0"])[0] == pytest.approx([2 / 6, 4 / 6])


def test_nothing_is_trained(inputs_of, clusters):
    """Stored features count as kept, not as trained."""
    predictor = fit(inputs_of(**clusters), KnnSettings(), rng=Rng(0))

    assert (predictor.n_trained_parameters, predictor.n_total_parameters) == (0, 120 * 6 + 120)
