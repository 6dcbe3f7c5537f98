"""Outcomes that learned nothing are marked in words."""

import math

import numpy as np
import pytest

from tunewise.evaluation.guards import chance_of, guessing_rate, marks_of
from tunewise.evaluation.metrics import answers_of
from tunewise.outcome import ClassAnswers


def answered(labels, predicted):
    """Return answers that are labels alone."""
    return ClassAnswers(np.array(labels), np.array(predicted), None)


def test_the_tail_of_four_tosses():
    """Three or more hits of four at one half: (4 + 1) / 16."""
    assert chance_of(3, 4, 0.5) == pytest.approx(5 / 16)


def test_the_tail_is_the_plain_sum():
    """The tail is the sum of its binomial terms."""
    terms = (math.comb(40, hits) * 0.3**hits * 0.7 ** (40 - hits) for hits in range(19, 41))

    assert chance_of(19, 40, 0.3) == pytest.approx(sum(terms))


def test_one_answer_for_all_is_said():
    """A constant answer has both marks, with the numbers that show it."""
    answers = answered([0] * 60 + [1] * 40, [0] * 100)

    one, chance = marks_of(answers, answers, "accuracy")

    assert one == "predicts one class for every text"
    assert "its test accuracy 0.600 on 100 texts cannot be told from answering the largest class alone (0.600" in chance


def test_random_answers_are_at_chance():
    """Labels that no text tells are answered at chance, whichever metric decides."""
    rng = np.random.default_rng(0)
    answers = answered(rng.integers(0, 2, 500), rng.integers(0, 2, 500))

    for metric in ("accuracy", "macro_f1", "mcc", "log_loss"):
        (mark,) = marks_of(answers, answers, metric)
        assert mark.startswith("at chance")


def test_good_answers_have_no_mark():
    """80 of 100 right on balanced classes is no guessing."""
    answers = answered([0, 1] * 50, [0, 1] * 40 + [1, 0] * 10)

    assert marks_of(answers, answers, "accuracy") == ()


def test_rare_classes_found_below_the_largest_share_are_seen():
    """Of 1,000 texts with 50 rare ones, 45 found at 80 false alarms: blind by accuracy, seeing by macro-F1.

    The blind rate by hand: true shares 0.95 and 0.05, answered shares 0.875 and 0.125.
    """
    labels = [0] * 950 + [1] * 50
    answers = answered(labels, [1] * 80 + [0] * 870 + [1] * 45 + [0] * 5)

    assert guessing_rate(answers, "macro_f1")[0] == pytest.approx(0.95 * 0.875 + 0.05 * 0.125)
    assert guessing_rate(answers, "accuracy")[0] == 0.95
    assert marks_of(answers, answers, "macro_f1") == ()
    assert len(marks_of(answers, answers, "accuracy")) == 1


def test_probabilities_are_judged_by_their_answers():
    """Answers with probabilities have the same marks as their labels alone."""
    answers = answers_of(np.full((50, 2), 0.5, dtype=np.float32), np.arange(50) % 2)

    assert len(marks_of(answers, answers, "accuracy")) == 2
