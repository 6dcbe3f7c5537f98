"""Costs and the frontier."""

import numpy as np

from tunewise.verdict.costs import frontier


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
