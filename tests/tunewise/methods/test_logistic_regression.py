"""Logistic regression: the optimum by hand, weights of classes, and classes without rows."""

import numpy as np
import pytest

from tunewise.methods.frozen.logistic_regression import LogisticRegressionSettings, fit
from tunewise.rng import Rng


def settings(*c):
    """Return settings with these values of C."""
    return LogisticRegressionSettings(c=list(c))


def test_the_penalty_balances_the_gradient(inputs_of):
    """At the optimum C * sum (y - p) x equals w, and sum (y - p) is 0: what setting the gradient to zero says."""
    train, labels = [[1, 0], [0.6, 0.8], [0, 1], [0.8, 0.6]], np.array([1, 1, 0, 0])
    predictor = fit(inputs_of(train, labels), settings(2.0), rng=Rng(0))
    residual = labels - predictor.predict(["0", "1", "2", "3"])[:, 1]

    assert residual.sum() == pytest.approx(0, abs=1e-3)
    assert predictor.classifier.weights[0] == pytest.approx(2.0 * residual @ np.array(train), abs=2e-3)


def test_scikit_learn_s_probabilities_are_ours(inputs_of, clusters):
    """The linear form kept answers what the library's estimator answers."""
    from sklearn.linear_model import LogisticRegression

    inputs = inputs_of(**clusters)
    witness = LogisticRegression(C=3.0, max_iter=1_000).fit(clusters["train"], clusters["labels"])
    ours = fit(inputs, settings(3.0), rng=Rng(0)).predict(inputs.development.texts)

    assert ours == pytest.approx(witness.predict_proba(clusters["development"]), abs=2e-3)


def test_class_weights_move_the_boundary(inputs_of, clusters):
    """A class that weighs ten times is answered more often."""
    n_answers = [
        (
            fit(inputs_of(**clusters, weights=[w, 1, 1]), settings(1.0), rng=Rng(0))
            .predict([str(i) for i in range(120)])
            .argmax(1)
            == 0
        ).sum()
        for w in (1, 10)
    ]

    assert n_answers[1] > n_answers[0]


def test_a_class_without_training_rows_gets_zero(inputs_of):
    """Development rows may hold a class the budget left no training row of."""
    inputs = inputs_of([[1, 0], [0, 1]] * 3, [0, 2] * 3, [[1, 0], [0, 1]], [0, 1], n_classes=3)
    probabilities = fit(inputs, settings(1.0, 10.0), rng=Rng(0)).predict(["1,0"])

    assert probabilities[0, 1] == 0
    assert probabilities.sum() == pytest.approx(1)


def test_parameters_are_weights_and_biases(inputs_of, clusters):
    """Three classes in six dimensions: 3 * 6 + 3; two classes need one row: 6 + 1."""
    assert fit(inputs_of(**clusters), settings(1.0), rng=Rng(0)).n_trained_parameters == 21
    two = inputs_of(clusters["train"], clusters["labels"] % 2)
    assert fit(two, settings(1.0), rng=Rng(0)).n_trained_parameters == 7
