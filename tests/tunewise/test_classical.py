"""What classifiers over fixed features share."""

from dataclasses import replace

import numpy as np
import pytest

from tunewise.classical import Linear, choose, embed_of, present_classes, row_weights, softmax, spread
from tunewise.contracts import Device, Runtime
from tunewise.errors import FitError
from tunewise.testing import Toy, toy_inputs


def one_row(weight, present=(0, 1), n_classes=2, scale=1.0):
    """Return a classifier of one feature and two present classes."""
    arrays = np.array([[weight]], dtype=np.float32), np.array([0.0], dtype=np.float32)
    return Linear(*arrays, np.array(present), n_classes, scale)


def test_two_classes_by_hand():
    """One row of weights argues for the second class: logit log 3 gives 1/4 and 3/4; a scale of 2 gives 1/10 and 9/10."""
    features = np.array([[1.0]], dtype=np.float32)

    assert one_row(np.log(3)).probabilities(features)[0] == pytest.approx([0.25, 0.75])
    assert one_row(np.log(3), scale=2.0).probabilities(features)[0] == pytest.approx([0.1, 0.9])


def test_three_classes_by_hand():
    """Logits 0, log 2 and log 5 give 1/8, 2/8 and 5/8."""
    weights = np.log(np.array([[1], [2], [5]], dtype=np.float32))
    classifier = Linear(weights, np.zeros(3, dtype=np.float32), np.arange(3), 3)

    assert classifier.probabilities(np.ones((1, 1), dtype=np.float32))[0] == pytest.approx([1 / 8, 2 / 8, 5 / 8])
    assert classifier.n_numbers == 6


def test_a_class_without_training_rows_has_probability_zero():
    """Of four classes two are present; the others get 0, and rows still sum to 1."""
    probabilities = one_row(1.0, present=(1, 3), n_classes=4).probabilities(np.ones((2, 1), dtype=np.float32))

    assert (probabilities[:, [0, 2]] == 0).all()
    assert probabilities.sum(axis=1) == pytest.approx(1)


def test_a_stored_classifier_is_the_same(tmp_path):
    """Every array comes back bit for bit."""
    classifier = one_row(0.1, present=(1, 3), n_classes=4, scale=1 / 3)
    classifier.save(tmp_path)
    again = Linear.load(tmp_path)

    assert again.weights.tobytes() == classifier.weights.tobytes()
    assert (again.scale, again.n_classes, again.present.tolist()) == (1 / 3, 4, [1, 3])


def test_the_softmax_bears_large_logits():
    """exp(1000) would be infinite."""
    assert softmax(np.array([[1_000.0, 1_000.0]])).tolist() == [[0.5, 0.5]]


def test_present_classes_are_counted_without_gaps():
    """Labels 5, 2, 5 are positions 1, 0, 1 of the classes 2 and 5; spreading puts them back."""
    present, positions = present_classes(np.array([5, 2, 5]))

    assert (present.tolist(), positions.tolist()) == ([2, 5], [1, 0, 1])
    assert spread(np.array([[0.25, 0.75]]), present, 7).tolist() == [[0, 0, 0.25, 0, 0, 0.75, 0]]


def test_one_class_is_refused():
    """The error says what is missing and what to do."""
    with pytest.raises(FitError, match=r"The training rows hold 1 class; a classifier needs two. Raise the budget"):
        present_classes(np.array([3, 3]))


def test_a_runtime_without_features_is_refused():
    """The error names what is missing."""
    with pytest.raises(FitError, match=r"the runtime has no `embed`"):
        embed_of(Runtime(Device("cpu", "float32", 1)))


def test_the_best_value_on_development_rows_is_chosen(tmp_path):
    """A weight that answers the development rows wrongly loses against one that answers them rightly; of equals the first."""
    inputs = toy_inputs(tmp_path)
    features = (2.0 * inputs.development.labels - 1)[:, None].astype(np.float32)

    assert choose("weight", [-1.0, 2.0, 1.0], one_row, features, inputs)[0] == 2.0
    by_loss = replace(inputs, metric="log_loss")
    assert choose("weight", [1.0, 2.0, -1.0], one_row, features, by_loss)[0] == 2.0
    assert [step["development_accuracy"] for step in inputs.monitor.curve[:3]] == [0, 1, 1]
    assert inputs.monitor.n_untimed == 6


def test_a_single_value_is_taken_unscored(tmp_path):
    """Nothing is chosen, so no development row is looked at."""
    inputs = toy_inputs(tmp_path)

    assert choose("weight", [7.0], one_row, None, inputs)[0] == 7.0
    assert inputs.monitor.curve == []


def test_rows_weigh_what_their_class_weighs(tmp_path):
    """Class 1 at weight 3 makes its rows weigh 3."""
    inputs = replace(toy_inputs(tmp_path, toy=Toy(n=20)), class_weights=np.array([1, 3], dtype=np.float32))

    assert row_weights(inputs).tolist() == [1, 3] * 6
