"""What a variant costs, and which variants no other beats in both quality and cost.

Source: Pareto 1906, "Manuale di economia politica": the frontier.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tunewise.outcome import Outcome


@dataclass(frozen=True)
class CostAxis:
    """One measured cost of an outcome; less is better."""

    name: str
    title: str
    unit: Literal["seconds", "milliseconds", "bytes"]
    of: Callable[[Outcome], float]


def fit_and_features_seconds(outcome: Outcome) -> float:
    """Return the seconds of the fit and of the frozen features it needed."""
    return outcome.costs.fit_seconds + outcome.costs.features_seconds


def predict_ms(outcome: Outcome) -> float:
    """Return milliseconds per text when all test texts are answered together, without any cache."""
    return 1000 * outcome.costs.predict_seconds / len(outcome.test.ids)


AXES = (
    CostAxis("fit_and_features_seconds", "Time to fit, features included", "seconds", fit_and_features_seconds),
    CostAxis("latency_ms", "Time to answer one text alone", "milliseconds", lambda o: o.costs.latency_ms),
    CostAxis("predict_ms", "Time per text, all test texts at once", "milliseconds", predict_ms),
    CostAxis("peak_above_start_bytes", "Memory the fit added at its peak", "bytes", lambda o: o.costs.peak_above_start_bytes),
    CostAxis("stored_bytes", "Stored besides the backbone", "bytes", lambda o: o.costs.stored_bytes),
)
"""The costs a reader can put quality against."""

PARTS_OF_COSTS = (
    CostAxis("fit_seconds", "Time of the fit alone", "seconds", lambda o: o.costs.fit_seconds),
    CostAxis("peak_bytes", "Peak memory of the process", "bytes", lambda o: o.costs.peak_bytes),
)
"""Costs for the numbers alone: they leave a part out, or count what the process held before the fit."""


def hardware_of(outcomes: Sequence[Outcome]) -> str:
    """Return the hardware that most of ``outcomes`` were measured on, the first of equals."""
    return Counter(outcome.hardware for outcome in outcomes).most_common(1)[0][0]


OWN_LOAD = 1.25
"""Of the cores. Fits one after the other on two idle cores began at loads up to 2.3."""


def median_costs(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return each cost as the median over the seeds that were measured on `hardware_of` them."""
    hardware = hardware_of(outcomes)
    measured = [outcome for outcome in outcomes if outcome.hardware == hardware]
    return {axis.name: median(axis.of(outcome) for outcome in measured) for axis in (*AXES, *PARTS_OF_COSTS)}


def is_beside_other_work(outcome: Outcome) -> bool:
    """Say whether clearly more ran when the fit began than the machine has cores; false where their number is not known.

    The load of the last minute holds the study's own fit before this one, which fills every core: only what goes
    beyond it by `OWN_LOAD` is somebody else's.
    """
    n_cores = outcome.provenance.get("n_cores")
    if n_cores is None:
        found = re.search(r"(\d+) cores?\b", outcome.hardware)
        n_cores = int(found[1]) if found else None
    return n_cores is not None and outcome.costs.load_at_start > OWN_LOAD * n_cores


def frontier(costs: Mapping[str, float], gains: Mapping[str, float]) -> tuple[str, ...]:
    """Return the names that no other beats: none is as cheap and better, or as good and cheaper; cheapest first.

    Args:
        costs: Less is better.
        gains: More is better; the same names.
    """
    found: list[str] = []
    for name in sorted(costs, key=lambda name: (costs[name], -gains[name], name)):
        if not found or gains[name] > gains[found[-1]]:
            found.append(name)
    return tuple(found)
