"""Costs and the frontier."""

from dataclasses import replace

import numpy as np
import pytest

from tunewise.verdict.costs import frontier, is_beside_other_work, median_costs


def test_features_are_in_one_of_two_times(make, costs):
    """``fit_seconds`` is the fit alone; the time that ranks has its features too."""
    outcomes = [row.outcome for row in make("knn", costs=replace(costs, features_seconds=5.0))]
    found = median_costs(outcomes)

    assert found["fit_seconds"] == np.median([outcome.costs.fit_seconds for outcome in outcomes])
    assert found["fit_and_features_seconds"] == pytest.approx(found["fit_seconds"] + 5)


@pytest.mark.parametrize(
    ("hardware", "provenance", "is_beside"),
    [
        ("EPYC, 2 cores", {}, True),
        ("EPYC, 4 cores, NVIDIA H100", {}, False),
        ("EPYC, 1 core", {}, True),
        ("EPYC, 2 cores", {"n_cores": 4}, False),
        ("EPYC", {"n_cores": 2}, True),
        ("EPYC", {}, False),
    ],
)
def test_other_work_is_a_load_above_the_cores(make, costs, hardware, provenance, is_beside):
    """Their number comes from the provenance, or from the words for the hardware."""
    outcome = make("knn", costs=replace(costs, load_at_start=3.0), hardware=hardware)[0].outcome

    assert is_beside_other_work(replace(outcome, provenance=provenance)) is is_beside


def test_frontier_by_hand():
    """The dearer must be better: c is as dear as b and worse, d is dearer and no better, e is the best."""
    costs = {"a": 1.0, "b": 2.0, "c": 2.0, "d": 3.0, "e": 9.0}
    gains = {"a": 0.5, "b": 0.7, "c": 0.6, "d": 0.7, "e": 0.8}

    assert frontier(costs, gains) == ("a", "b", "e")


def test_frontier_is_who_no_other_beats():
    """Compared with every other one by one, each on it is beaten by none and each off it by one."""
    rng = np.random.default_rng(0)
    costs = {str(i): float(value) for i, value in enumerate(rng.integers(1, 20, 60))}
    gains = {str(i): float(value) for i, value in enumerate(rng.integers(1, 20, 60))}

    def beats(one, other):
        no_worse = costs[one] <= costs[other] and gains[one] >= gains[other]
        return no_worse and (costs[one], gains[one]) != (costs[other], gains[other])

    unbeaten = {(costs[a], gains[a]) for a in costs if not any(beats(b, a) for b in costs)}
    assert {(costs[name], gains[name]) for name in frontier(costs, gains)} == unbeaten
