"""Confusions and the texts most variants get wrong."""

from dataclasses import replace

import numpy as np

from tunewise.evaluation.metrics import answers_of, per_example
from tunewise.outcome import Scored
from tunewise.verdict.reading import confusion_of, hardest_texts, mixed_up
from tunewise.verdict.standing import standings

LABELS = np.array([0, 0, 1, 1])


def answering(row, *shares):
    """Return the row with these probabilities of class 1 on four texts of the classes 0, 0, 1, 1."""
    answers = answers_of(np.array([[1 - share, share] for share in shares]), LABELS)
    test = Scored(("a", "b", "c", "d"), answers, per_example(answers))
    return replace(row, outcome=replace(row.outcome, test=test))


def four_texts(make):
    """Return three variants with one seed: text d is wrong for all, b for two, c for one, a for none."""
    x, y, z = (make(name, seeds=(0,))[0] for name in "xyz")
    return [answering(x, 0.1, 0.9, 0.8, 0.2), answering(y, 0.1, 0.6, 0.8, 0.1), answering(z, 0.1, 0.2, 0.4, 0.3)]


def test_the_texts_most_variants_get_wrong(make):
    """They come by how many are wrong, with each variant's answer and its probability; a text all get right is none."""
    got = hardest_texts(standings(four_texts(make), "accuracy"), {"d": "the hard one"})

    assert [(text.id, text.n_wrong) for text in got] == [("d", 3), ("b", 2), ("c", 1)]
    assert (got[0].text, got[1].text) == ("the hard one", None)
    assert {(answer.variant, answer.label, round(answer.probability, 2)) for answer in got[0].answers} == {
        ("x", 0, 0.8),
        ("y", 0, 0.9),
        ("z", 0, 0.7),
    }


def test_of_equals_the_surest_mistake_comes_first(make):
    """Two texts that all get wrong are ordered by how little they believe in the label."""
    rows = [answering(make(name, seeds=(0,))[0], 0.6, 0.9, 0.8, 0.8) for name in "xy"]

    assert [text.id for text in hardest_texts(standings(rows, "accuracy"), {})] == ["b", "a"]


def test_a_variant_that_learned_nothing_has_no_say(make):
    """Its mistakes count for no text."""
    rows = four_texts(make)
    rows[2] = replace(rows[2], outcome=replace(rows[2].outcome, marks=("predicts one class for every text",)))

    got = hardest_texts(standings(rows, "accuracy"), {})

    assert [(text.id, len(text.answers)) for text in got] == [("d", 2), ("b", 2)]


def test_confusion_is_summed_over_seeds(make):
    """Two seeds of the same answers give twice the counts of one."""
    row = answering(make("x", seeds=(0,))[0], 0.1, 0.9, 0.8, 0.2)
    again = replace(row, seed=1, outcome=replace(row.outcome, key="other"))

    got = confusion_of(standings([row, again], "accuracy")[0], 2)

    assert got.tolist() == [[2, 2], [2, 2]]


def test_the_most_frequent_mistakes_come_first():
    """Off the diagonal, by count, as shares of the true class; cells without mistakes are left out."""
    counts = np.array([[90, 10, 0], [0, 50, 30], [5, 0, 15]])

    assert mixed_up(counts, at_most=2) == [(1, 2, 30 / 80), (0, 1, 10 / 100)]
    assert len(mixed_up(counts)) == 3
