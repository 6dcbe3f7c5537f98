"""One variant's place in a comparison: its scores over seeds, its costs, its warnings."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tunewise.errors import ComparisonError
from tunewise.evaluation.contributions import contributions
from tunewise.evaluation.intervals import Estimate, difference, mean_over_seeds
from tunewise.evaluation.metrics import METRICS, higher_is_better
from tunewise.methods import catalogue
from tunewise.verdict.costs import hardware_of, is_beside_other_work, median_costs
from tunewise.verdict.wording import METRIC_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tunewise.outcome import Outcome, Row

DISQUALIFYING = ("predicts one class", "at chance")
"""Marks that hold one of these say that a fit learned nothing; its variant is shown and never recommended."""

BUSY = "measured beside other work"
"""Mark of a fit that began while more ran than the machine has cores."""

YARDSTICK = "majority"


@dataclass(frozen=True, eq=False)
class Standing:
    """A variant with its distinct outcomes in the order of their seeds."""

    variant: str
    outcomes: tuple[Outcome, ...]
    seeds: tuple[int, ...]
    """The seeds it stands for; more than it has outcomes where the seed changes nothing."""
    is_seeded: bool
    metric: str
    """The metric that ranks it."""

    @property
    def method(self) -> str:
        """Return the method's name."""
        return self.outcomes[0].method

    @property
    def family(self) -> str:
        """Return the method's family."""
        return self.outcomes[0].family

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """Return what each test text adds to each metric that the answers carry. Shape: (n_outcomes, n_texts)."""
        found: dict[str, np.ndarray] = {}
        for name in METRICS:
            rows = [row for outcome in self.outcomes if (row := contributions(name, outcome.test.answers)) is not None]
            if len(rows) == len(self.outcomes):
                found[name] = np.stack(rows)
        return found

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Return each metric on test texts with its interval."""
        return {name: mean_over_seeds(rows, is_share=name == "accuracy") for name, rows in self.values.items()}

    @cached_property
    def development(self) -> dict[str, float]:
        """Return each metric on development texts, on which choices were made, as the mean over seeds."""
        answers = [outcome.development.answers for outcome in self.outcomes]
        return {name: float(np.mean([METRICS[name](given) for given in answers])) for name in self.values}

    @property
    def estimate(self) -> Estimate | None:
        """Return the deciding metric with its interval; none where the answers do not carry it."""
        return self.estimates.get(self.metric)

    @property
    def gain(self) -> float:
        """Return the deciding metric, its sign turned where less is better."""
        value = self.estimates[self.metric].value
        return value if higher_is_better(self.metric) else -value

    @cached_property
    def costs(self) -> dict[str, float]:
        """Return the median of each cost in `tunewise.verdict.costs.AXES` and `PARTS_OF_COSTS`."""
        return median_costs(self.outcomes)

    @property
    def hardware(self) -> str:
        """Return where the costs were measured."""
        return hardware_of(self.outcomes)

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """Return the outcomes' warnings in words, with how many seeds carry each where not all do.

        A fit that began on a busy machine is warned of here; its costs say more than they should.
        """
        found = Counter(mark for outcome in self.outcomes for mark in outcome.marks)
        found.update(BUSY for outcome in self.outcomes if is_beside_other_work(outcome))
        n = len(self.outcomes)
        told = [mark if times == n else f"{mark} (with {times} of {n} seeds)" for mark, times in found.items()]
        if self.estimate is None:
            told.append(f"gives no probabilities, so {METRIC_NAMES[self.metric]} cannot rank it")
        return tuple(told)

    @property
    def is_yardstick(self) -> bool:
        """Say whether it is the majority class, which looks at no text and is there to be beaten."""
        return self.method == YARDSTICK

    @property
    def has_learned(self) -> bool:
        """Say whether it looks at the texts and no seed of it collapsed or stayed at chance."""
        return not self.is_yardstick and not any(
            sign in mark for outcome in self.outcomes for mark in outcome.marks for sign in DISQUALIFYING
        )

    @property
    def is_ranked(self) -> bool:
        """Say whether the variant can be recommended."""
        return self.has_learned and self.estimate is not None

    @property
    def seeds_are_few(self) -> bool:
        """Say whether a seeded method has one outcome, so that its interval counts test texts alone."""
        return self.is_seeded and len(self.outcomes) == 1


def gap_between(one: Standing, other: Standing) -> Estimate:
    """Return by how much ``one`` is better than ``other`` in the deciding metric, paired over texts."""
    values = one.values[one.metric], other.values[one.metric]
    return difference(*values) if higher_is_better(one.metric) else difference(*reversed(values))


def standings(rows: Iterable[Row], metric: str) -> tuple[Standing, ...]:
    """Return one standing per variant: the ranked ones best first, then those that are marked.

    Raises:
        ComparisonError: If the outcomes do not answer the same test texts, or one fit is given twice.
    """
    of_variant: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        of_variant[row.variant].append(row)
    _refuse_other_texts([row for group in of_variant.values() for row in group])
    found = [_standing(variant, sorted(group, key=lambda row: row.seed), metric) for variant, group in of_variant.items()]
    return tuple(sorted(found, key=lambda one: (not one.is_ranked, one.estimate is None, -one.gain if one.estimate else 0.0)))


def _standing(variant: str, rows: Sequence[Row], metric: str) -> Standing:
    seeds = tuple(row.seed for row in rows)
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise ComparisonError(f"Two outcomes were given for {variant} with seed {twice}; a row counts once. Give the newer one.")
    distinct = tuple({row.outcome.key: row.outcome for row in rows}.values())
    method = catalogue().get(distinct[0].method)
    is_seeded = method.is_seeded if method else len(distinct) == len(seeds)
    return Standing(variant, distinct if is_seeded else distinct[:1], seeds, is_seeded, metric)


def _refuse_other_texts(rows: Sequence[Row]) -> None:
    for row in rows[1:]:
        first, other = rows[0], row
        if first.outcome.split_sha256 != other.outcome.split_sha256 or first.outcome.test.ids != other.outcome.test.ids:
            raise ComparisonError(
                f"{first.variant} (seed {first.seed}) answers the test texts of split {first.outcome.split_sha256[:12]}, "
                f"{other.variant} (seed {other.seed}) those of split {other.outcome.split_sha256[:12]}. Scores on "
                f"different texts say nothing about each other. Run the older one again."
            )
