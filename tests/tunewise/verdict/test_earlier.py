"""This comparison beside the last one: the same texts on both sides, the same class, and a change with its chance."""

from dataclasses import replace

import numpy as np

from tunewise.evaluation.metrics import answers_of, per_example
from tunewise.history import note_comparison
from tunewise.outcome import Scored
from tunewise.verdict import build_verdict
from tunewise.verdict.earlier import beside, earlier_of, heading, table
from tunewise.verdict.numbers import numbers
from tunewise.verdict.page import as_page


def answered(row, ids, labels, predicted):
    """Return the row with these answers to these test texts."""
    labels, shares = np.array(labels), np.eye(2, dtype=np.float32)[np.array(predicted)]
    answers = answers_of(shares, labels)
    return replace(row, outcome=replace(row.outcome, test=Scored(tuple(ids), answers, per_example(answers))))


def texts(start, end):
    """Return the ids of some texts."""
    return [f"text{i:03d}" for i in range(start, end)]


def then_and_now(make):
    """Return one variant then on texts 0 to 99 and now on texts 20 to 119.

    Text 20 has another class now. Of the 79 common ones 40 were right then and 60 are right now.
    """
    (row, *_) = make("lora")
    labels = np.zeros(120, dtype=int)
    then = answered(row, texts(0, 100), labels[:100], [int(not 20 < i <= 60) for i in range(100)])
    now_labels = labels.copy()
    now_labels[20] = 1
    now = answered(row, texts(20, 120), now_labels[20:], [int(not 20 < i <= 80) for i in range(20, 120)])
    return then, now


def test_only_common_texts_with_the_same_class_count(make):
    """79 of 100 texts are common: 40 were right, 60 are, which is a gain of 20/79; 21 of then are gone, 21 are new."""
    then, now = then_and_now(make)
    found = beside({"lora": [then.outcome]}, [now], "2026-10-01", "accuracy")
    (change,) = found.changes

    assert (found.n_common, found.n_gone, found.n_new) == (79, 21, 21)
    assert np.isclose(change.then, 40 / 79)
    assert np.isclose(change.now, 60 / 79)
    assert np.isclose(change.change.value, 20 / 79)
    assert found.sentence == "Better: lora."
    assert heading(found) == "On the 79 test texts that both have; 21 of then are gone or have another class, 21 are new."
    assert table(found)[0]["cells"] == ["50.6%", "75.9%", "+25.3"]


def test_less_log_loss_is_better(make):
    """The sign of the change is that of the metric; what is better follows from the metric."""
    then, now = then_and_now(make)
    found = beside({"lora": [then.outcome]}, [now], "2026-10-01", "log_loss")

    assert found.changes[0].change.value < 0
    assert found.sentence == "Better: lora."


def test_what_did_not_change_is_said_to_be_chance(make):
    """Equal answers change nothing, by nothing; a variant of one side alone is left out."""
    then, _ = then_and_now(make)
    found = beside({"lora": [then.outcome], "gone": [then.outcome]}, [then], "2026-10-01", "accuracy")

    assert [one.variant for one in found.changes] == ["lora"]
    assert found.changes[0].change.value == 0
    assert found.sentence == "All cannot be told from what they were."


def test_too_few_common_texts_tell_nothing(make):
    """Other data altogether is not laid beside."""
    then, now = then_and_now(make)
    other = answered(now, texts(200, 300), [0] * 100, [0] * 100)

    assert beside({"lora": [then.outcome]}, [other], "2026-10-01", "accuracy") is None


def test_the_page_shows_it_where_there_is_one(make, judge):
    """Page and JSON have the section with the change; without an earlier comparison neither has it."""
    then, now = then_and_now(make)
    study = judge(make("lora")).study
    found = beside({"lora": [then.outcome]}, [now], "2026-10-01", "accuracy")
    page = as_page(build_verdict(study, [now], earlier=found))

    assert "Beside the comparison of 2026-10-01" in page
    assert "+25.3" in page
    assert numbers(build_verdict(study, [now], earlier=found))["earlier"]["n_common"] == 79
    assert 'id="earlier"' not in as_page(build_verdict(study, [now]))


def test_the_last_comparison_on_another_split_is_taken(make, judge, home):
    """One on the same split is this month's own; outcomes that are gone leave nothing to compare."""
    study, rows = judge(make("lora")).study, make("lora")
    assert earlier_of(study, rows, "a" * 64, home) is None
    note_comparison(study.name, rows, split_sha256="b" * 64, metric="accuracy", home=home)

    assert earlier_of(study, rows, "b" * 64, home) is None
    assert earlier_of(study, rows, "a" * 64, home) is None
