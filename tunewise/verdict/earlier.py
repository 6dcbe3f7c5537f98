"""This comparison beside the last one on other data, on the test texts that both have.

New rows make a new split, whose scores are those of other texts. What tells whether a variant became better or worse
are the texts that were tested then and now, with the class they had then: on those each variant is compared with itself.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewise.errors import ArtifactError
from tunewise.evaluation.contributions import contributions
from tunewise.evaluation.intervals import Estimate, difference
from tunewise.evaluation.metrics import higher_is_better
from tunewise.history import read_history
from tunewise.outcome import ClassAnswers
from tunewise.verdict.wording import count, score, signed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tunewise.contracts import Label
    from tunewise.home import Home
    from tunewise.outcome import Outcome, Row
    from tunewise.study import Study

LEAST_TEXTS = 20
"""Fewer common texts tell nothing."""


@dataclass(frozen=True)
class Change:
    """One variant then and now, on the common texts."""

    variant: str
    then: float
    now: float
    change: Estimate
    """``now - then`` of the deciding metric, paired text by text."""


@dataclass(frozen=True)
class Earlier:
    """The last comparison that stood on another split."""

    at: str
    """Its day."""
    metric: str
    n_common: int
    n_gone: int
    """Test texts of then that are none now, or have another class."""
    n_new: int
    changes: tuple[Change, ...]

    @property
    def sentence(self) -> str:
        """Return in words which variants changed by more than chance explains."""
        better, worse = ([one.variant for one in self.changes if _is_clear(one.change, self.metric, sign)] for sign in (1, -1))
        told = [f"better: {', '.join(better)}"] * bool(better) + [f"worse: {', '.join(worse)}"] * bool(worse)
        rest = len(self.changes) - len(better) - len(worse)
        told += [f"{'the others' if told else 'all'} cannot be told from what they were"] * bool(rest)
        return "; ".join(told).capitalize() + "."


def earlier_of(study: Study, rows: Sequence[Row], split_sha256: str, home: Home) -> Earlier | None:
    """Return the last comparison of ``study`` on another split beside ``rows``; none where there is none to compare with."""
    from tunewise.evaluation.outcomes import folder_of, read_outcome

    past = [one for one in read_history(study.name, home) if one.split_sha256 != split_sha256]
    if not past or not rows:
        return None
    then: dict[str, dict[str, Outcome]] = defaultdict(dict)
    for one in past[-1].rows:
        try:
            then[one.variant][one.key] = read_outcome(folder_of(one.key, home))
        except ArtifactError:
            continue  # it was cleaned up; others may be there
    return beside({name: list(found.values()) for name, found in then.items()}, rows, past[-1].at[:10], study.metric)


def beside(then: Mapping[str, Sequence[Outcome]], rows: Iterable[Row], at: str, metric: str) -> Earlier | None:
    """Return every variant of both beside itself; none where they share too few texts, or no variant.

    Args:
        then: The distinct outcomes of each variant, one per seed.
        rows: Those of now.
        at: The day of then.
        metric: The deciding metric.
    """
    now: dict[str, dict[str, Outcome]] = defaultdict(dict)
    for row in rows:
        now[row.variant][row.outcome.key] = row.outcome
    both = {name: (list(then[name]), list(now[name].values())) for name in now if then.get(name)}
    if not both:
        return None
    before, after = (_classes_of_texts(outcomes[0]) for outcomes in next(iter(both.values())))
    common = sorted(text for text, label in after.items() if text in before and before[text] == label)
    if len(common) < LEAST_TEXTS:
        return None
    changes = [found for name, pair in both.items() if (found := _change(name, *pair, common, metric))]
    if not changes:
        return None
    return Earlier(at, metric, len(common), len(before) - len(common), len(after) - len(common), tuple(changes))


def table(earlier: Earlier) -> list[dict[str, Any]]:
    """Return a row of text per variant: then, now, the change with its interval."""
    metric = earlier.metric
    return [
        {
            "name": one.variant,
            "cells": [score(metric, one.then), score(metric, one.now), signed(metric, one.change.value)],
            "ends": f"{signed(metric, one.change.low)} to {signed(metric, one.change.high)}",
            "is_clear": not one.change.holds(0.0),
        }
        for one in earlier.changes
    ]


def heading(earlier: Earlier) -> str:
    """Return what the two comparisons share."""
    gone = f"{count(earlier.n_gone)} of then are gone or have another class" if earlier.n_gone else "none is gone"
    return f"On the {count(earlier.n_common)} test texts that both have; {gone}, {count(earlier.n_new)} are new."


def _classes_of_texts(outcome: Outcome) -> dict[str, Label]:
    return {text: outcome.classes[label] for text, label in zip(outcome.test.ids, outcome.test.answers.labels, strict=True)}


def _change(name: str, then: list[Outcome], now: list[Outcome], common: list[str], metric: str) -> Change | None:
    """Return a variant's change; none where its answers do not carry the metric or do not hold the texts."""
    values = [_values(outcomes, common, metric) for outcomes in (then, now)]
    if values[0] is None or values[1] is None:
        return None
    change = difference(values[1], values[0])
    return Change(name, float(values[0].mean()), float(values[1].mean()), change)


def _values(outcomes: list[Outcome], common: list[str], metric: str) -> np.ndarray | None:
    """Return what each common text adds to the metric. Shape: (n_outcomes, n_common)."""
    found = []
    for outcome in outcomes:
        places = {text: i for i, text in enumerate(outcome.test.ids)}
        if not places.keys() >= set(common):
            return None
        rows = np.array([places[text] for text in common])
        answers = outcome.test.answers
        probabilities = None if answers.probabilities is None else answers.probabilities[rows]
        added = contributions(metric, ClassAnswers(answers.labels[rows], answers.predicted[rows], probabilities))
        if added is None:
            return None
        found.append(added)
    return np.stack(found)


def _is_clear(change: Estimate, metric: str, sign: int) -> bool:
    """Say whether a change is better (``sign`` 1) or worse (-1) by more than chance explains."""
    good = sign * change.value > 0 if higher_is_better(metric) else sign * change.value < 0
    return good and not change.holds(0.0)
