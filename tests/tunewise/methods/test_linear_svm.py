"""The linear machine: its margins, and the scale that makes them probabilities."""

import numpy as np
import pytest

from tunewise.classical import Linear
from tunewise.methods.frozen.linear_svm import LOG_SCALES, LinearSvmSettings, fit, scaled
from tunewise.rng import Rng


@pytest.fixture
def margin():
    """A classifier whose margin is its only feature."""
    return Linear(np.ones((1, 1), dtype=np.float32), np.zeros(1, dtype=np.float32), np.arange(2), 2)


def test_the_scale_by_hand(margin):
    """At margin 1, three of four rows right: the likeliest probability is 3/4, so the scale is log 3."""
    features = np.ones((4, 1), dtype=np.float32)

    assert scaled(margin, features, np.array([1, 1, 1, 0])).scale == pytest.approx(np.log(3), rel=2e-3)


def test_separated_development_rows_ask_for_no_infinite_scale(margin):
    """Where margins make no error the scale ends at its bound."""
    features = np.array([[1], [-1]], dtype=np.float32)

    assert scaled(margin, features, np.array([1, 0])).scale <= np.exp(LOG_SCALES[1])


def test_the_answers_are_the_machine_s(inputs_of, clusters):
    """Scaling changes no answer: the most probable class is the one scikit-learn's machine decides for."""
    from sklearn.svm import LinearSVC

    inputs = inputs_of(**clusters)
    witness = LinearSVC(C=1.0, dual=False).fit(clusters["train"], clusters["labels"])
    predictor = fit(inputs, LinearSvmSettings(c=[1.0]), rng=Rng(0))

    assert predictor.predict(inputs.development.texts).argmax(1).tolist() == witness.predict(clusters["development"]).tolist()
    assert predictor.chosen["scale"] > 0


def test_the_scale_lowers_the_development_loss(inputs_of, clusters):
    """Raw margins as logits are worse than scaled ones on the rows the scale was fitted to."""
    from dataclasses import replace

    from tunewise.evaluation.metrics import answers_of, log_loss

    inputs = inputs_of(**clusters)
    predictor = fit(inputs, LinearSvmSettings(c=[1.0]), rng=Rng(0))
    features = inputs.runtime.embed(inputs.development.texts)
    losses = [
        log_loss(answers_of(classifier.probabilities(features), inputs.development.labels))
        for classifier in (predictor.classifier, replace(predictor.classifier, scale=1.0))
    ]

    assert losses[0] < losses[1]
