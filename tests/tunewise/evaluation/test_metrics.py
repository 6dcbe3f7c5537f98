"""Metrics: values worked by hand, and scikit-learn as a witness."""

import numpy as np
import pytest
from sklearn import metrics as witness

from tunewise.contracts import Part
from tunewise.errors import StudyError
from tunewise.evaluation.metrics import METRICS, answers_of, confusion, gain, higher_is_better, metric_named, per_example, score
from tunewise.outcome import ClassAnswers


def answered(labels, predicted):
    """Return answers that are labels alone."""
    return ClassAnswers(np.array(labels), np.array(predicted), None)


@pytest.fixture
def many():
    """Answers to 300 rows of 5 classes, one of which is never true."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(5), size=300).astype(np.float32)
    return answers_of(probabilities, rng.integers(0, 4, size=300))


def test_four_rows_of_three_classes_by_hand():
    """Truth 0 0 1 2, answers 0 1 1 1: F1 are 2/3, 1/2 and 0; trace 2, n 4, covariance 8 - 5, spreads 10 and 6."""
    answers = answered([0, 0, 1, 2], [0, 1, 1, 1])

    assert confusion(answers).tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert METRICS["accuracy"](answers) == 0.5
    assert METRICS["macro_f1"](answers) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert METRICS["mcc"](answers) == pytest.approx(3 / (10 * 6) ** 0.5)


def test_log_loss_of_two_rows_by_hand():
    """A half and a quarter for the true class cost (log 2 + log 4) / 2 nats."""
    answers = answers_of(np.array([[0.5, 0.5], [0.75, 0.25]], dtype=np.float32), np.array([0, 1]))

    assert METRICS["log_loss"](answers) == pytest.approx(1.5 * np.log(2))


def test_a_sure_wrong_answer_costs_sixteen_nats():
    """A probability of 0 for the true class is taken as 1e-7, so the loss stays finite."""
    answers = answers_of(np.array([[1.0, 0.0]], dtype=np.float32), np.array([1]))

    assert METRICS["log_loss"](answers) == pytest.approx(7 * np.log(10))


def test_a_class_without_rows_is_left_out_of_macro_f1():
    """Classes 0 and 1 count, each with F1 2/3 and 1; the answer 2 only lowers the recall of class 0."""
    answers = answered([0, 0, 1], [0, 2, 1])

    assert METRICS["macro_f1"](answers) == pytest.approx((2 / 3 + 1) / 2)


def test_one_answer_for_all_has_no_correlation():
    """Matthews' coefficient of a constant answer is 0, not a division by zero."""
    assert METRICS["mcc"](answered([0, 1, 1], [1, 1, 1])) == 0.0


def test_an_independent_library_agrees(many):
    """scikit-learn gives the same values when it is told the classes that occur."""
    present = [0, 1, 2, 3]

    assert METRICS["accuracy"](many) == pytest.approx(witness.accuracy_score(many.labels, many.predicted))
    expected = witness.f1_score(many.labels, many.predicted, average="macro", labels=present, zero_division=0)
    assert METRICS["macro_f1"](many) == pytest.approx(expected)
    assert METRICS["mcc"](many) == pytest.approx(witness.matthews_corrcoef(many.labels, many.predicted))
    exact = many.probabilities.astype(float)
    expected = witness.log_loss(many.labels, exact / exact.sum(axis=1, keepdims=True), labels=range(5))
    assert METRICS["log_loss"](many) == pytest.approx(expected, rel=1e-5)


def test_rows_average_to_the_metric(many):
    """The mean of the per-row values is the metric itself."""
    rows = per_example(many)

    assert set(rows) == {"accuracy", "log_loss"}
    assert all(values.mean() == pytest.approx(METRICS[name](many)) for name, values in rows.items())


def test_labels_alone_have_no_log_loss():
    """Answers without probabilities have accuracy by row, and the metric says what it needs."""
    answers = answered([0, 1], [0, 0])

    assert per_example(answers)["accuracy"].tolist() == [1.0, 0.0]
    assert "log_loss" not in per_example(answers)
    with pytest.raises(StudyError, match=r"needs probabilities; .* Use accuracy, macro_f1 or mcc"):
        METRICS["log_loss"](answers)


def test_gain_is_larger_for_the_better_answers():
    """Log loss is turned round, the others are not."""
    good, bad = (answers_of(np.array([[p, 1 - p]], dtype=np.float32), np.array([0])) for p in (0.9, 0.6))

    assert higher_is_better("accuracy")
    assert not higher_is_better("log_loss")
    assert gain("log_loss", good) > gain("log_loss", bad)
    assert gain("accuracy", good) == 1.0


def test_equal_probabilities_name_the_first_class():
    """A tie is answered the same way every time."""
    assert answers_of(np.full((1, 3), 1 / 3, dtype=np.float32), np.array([2])).predicted.tolist() == [0]


def test_score_keeps_ids_beside_values():
    """Scored rows stand in the part's order."""
    part = Part(("a", "b"), ("x", "y"), np.array([0, 1]))

    scored = score(part, np.array([[0.9, 0.1], [0.8, 0.2]], dtype=np.float32))

    assert scored.ids == ("a", "b")
    assert scored.values["accuracy"].tolist() == [1.0, 0.0]


def test_an_unknown_metric_is_answered_with_the_choices():
    """The error names what was given and what would have worked."""
    with pytest.raises(StudyError, match=r"metric='f1' is unknown; it can be accuracy, macro_f1, mcc, log_loss"):
        metric_named("f1")
