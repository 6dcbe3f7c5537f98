"""A variant's place: what is averaged, what is ranked, what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from tunewise.errors import ComparisonError
from tunewise.evaluation.guards import marks_of
from tunewise.evaluation.metrics import METRICS, answers_of
from tunewise.outcome import Row
from tunewise.verdict.standing import gap_between, standings


def place(rows, metric="accuracy"):
    """Return the standings by name."""
    return {one.variant: one for one in standings(rows, metric)}


@pytest.mark.parametrize("metric", METRICS)
def test_an_estimate_is_the_mean_over_seeds(make, metric):
    """Every metric's estimate is the plain mean of its three seeds, inside its interval."""
    rows = make("lora")

    got = place(rows)["lora"].estimates[metric]

    expected = np.mean([METRICS[metric](row.outcome.test.answers) for row in rows])
    assert got.value == pytest.approx(expected)
    assert got.low < expected < got.high


def test_one_outcome_for_all_seeds_counts_once(make):
    """A method without chance has no variance of seeds, and its interval is no narrower for standing three times."""
    rows = make("majority_like", is_seeded=False)

    three, one = place(rows)["majority_like"], place(rows[:1])["majority_like"]

    assert (len(three.outcomes), three.seeds, three.estimates["accuracy"].seeds_variance) == (1, (0, 1, 2), 0)
    assert three.estimates["accuracy"] == one.estimates["accuracy"]


def test_a_method_without_chance_is_known_from_the_catalogue(make):
    """Single rows tell a seeded method, whose interval then counts texts alone, from one that its seed does not change."""
    rows = make("free", method="majority", seeds=(0,)) + make("bound", seeds=(0,))

    got = place(rows)

    assert (got["free"].seeds_are_few, got["bound"].seeds_are_few) == (False, True)


def test_the_ranked_come_first_and_best_first(make):
    """Variants that learned nothing follow those that did, whatever their score."""
    rows = [*make("good", 0.9), *make("blind", 0.95, marks=("predicts one class for every text",)), *make("fair", 0.7)]

    assert [one.variant for one in standings(rows, "accuracy")] == ["good", "fair", "blind"]


def test_log_loss_ranks_the_smallest_first(make):
    """Where less is better the better variant comes first, and its gap to the other is positive."""
    rows = [*make("fair", 0.7), *make("good", 0.9)]

    first, second = standings(rows, "log_loss")

    assert (first.variant, second.variant) == ("good", "fair")
    assert gap_between(first, second).low > 0


def test_labels_alone_cannot_be_ranked_by_log_loss(make):
    """A source without probabilities is marked in words and not ranked."""
    got = place(make("labels", has_probabilities=False), "log_loss")["labels"]

    assert not got.is_ranked
    assert got.marks == ("gives no probabilities, so log loss cannot rank it",)


def test_a_mark_of_one_seed_says_so(make):
    """One collapsed seed of three marks the variant, with the count."""
    rows = make("lora")
    rows[1] = replace(rows[1], outcome=replace(rows[1].outcome, marks=("predicts one class for every text",)))

    got = place(rows)["lora"]

    assert got.marks == ("predicts one class for every text (with 1 of 3 seeds)",)
    assert not got.is_ranked


def test_the_guards_marks_are_understood(make):
    """What the guards say of blind answers keeps a variant from being ranked; what they say of seeing ones does not."""
    labels = np.arange(200) % 2
    coin = np.random.default_rng(0).dirichlet([1, 1], 200)
    sure, one_class = np.eye(2)[labels], np.tile([0.9, 0.1], (200, 1))
    ranked = {}
    for name, shares in {"coin": coin, "sure": sure, "one_class": one_class}.items():
        answers = answers_of(shares, labels)
        rows = make(name, marks=marks_of(answers, answers, "accuracy"))
        ranked[name] = place(rows)[name].is_ranked

    assert ranked == {"coin": False, "sure": True, "one_class": False}


def test_the_majority_class_is_a_yardstick(make):
    """The majority class is never ranked, marked or not."""
    assert not place(make("majority", 0.9))["majority"].is_ranked


def test_costs_are_medians_over_seeds(make):
    """The cost of three fits is that of the middle one."""
    rows = make("lora")
    for i, seconds in enumerate((7.0, 1.0, 100.0)):
        rows[i] = replace(rows[i], outcome=replace(rows[i].outcome, costs=replace(rows[i].outcome.costs, fit_seconds=seconds)))

    assert place(rows)["lora"].costs["fit_seconds"] == 7.0


def test_costs_of_other_hardware_do_not_mix(make):
    """Of 10, 20 and 900 bytes, the last on other hardware, the median is 15."""
    rows = make("lora")
    for i, stored in enumerate((10, 20, 900)):
        costs = replace(rows[i].outcome.costs, stored_bytes=stored)
        rows[i] = replace(rows[i], outcome=replace(rows[i].outcome, costs=costs, hardware="a GPU" if i == 2 else "a CPU"))

    got = place(rows)["lora"]

    assert (got.hardware, got.costs["stored_bytes"]) == ("a CPU", 15)


def test_other_test_texts_are_refused(make):
    """The error names both variants and both splits, and what follows."""
    rows = [*make("old", split="aa" * 32), *make("new", split="bb" * 32)]

    with pytest.raises(
        ComparisonError, match=r"old \(seed 0\) .* split aaaaaaaaaaaa, new \(seed 0\) .* bbbbbbbbbbbb.*Run the older"
    ):
        standings(rows, "accuracy")


def test_one_fit_twice_is_refused(make):
    """Two outcomes for one variant and seed would be counted as two seeds."""
    rows = make("lora")

    with pytest.raises(ComparisonError, match="Two outcomes were given for lora with seed 1"):
        standings([*rows, Row("lora", 1, rows[0].outcome)], "accuracy")
