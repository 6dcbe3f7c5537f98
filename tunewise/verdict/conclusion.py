"""The verdict: what a comparison concludes from outcomes, before it is drawn or printed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

from tunewise.evaluation.metrics import higher_is_better
from tunewise.verdict.costs import AXES, frontier, hardware_of
from tunewise.verdict.reading import HardText, hardest_texts
from tunewise.verdict.recommend import Recommendation, recommend
from tunewise.verdict.standing import Standing, gap_between, standings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tunewise.contracts import Text
    from tunewise.evaluation.intervals import Estimate
    from tunewise.outcome import Missing, Outcome, Row
    from tunewise.planning.kept import Compared
    from tunewise.study import Study
    from tunewise.verdict.earlier import Earlier


@dataclass(frozen=True, eq=False)
class Verdict:
    """Everything the page, the table and the JSON say."""

    study: Study
    standings: tuple[Standing, ...]
    """The ranked ones best first, then those that learned nothing."""
    recommendation: Recommendation
    hardest: tuple[HardText, ...]
    missing: tuple[Missing, ...]
    findings: tuple[dict[str, Any], ...]
    """The audit's: ``name``, ``passed``, ``message``."""
    estimates: tuple[Compared, ...] = ()
    """What the latest run was estimated to take and took, by variant; empty where none was estimated."""
    earlier: Earlier | None = None
    """The last comparison on other data, on the texts that both have."""

    @property
    def sentence(self) -> str:
        """Return the one sentence that says what to use."""
        return self.recommendation.sentence

    @property
    def metric(self) -> str:
        """Return the metric that decides."""
        return self.study.metric

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Return every distinct outcome."""
        return tuple({outcome.key: outcome for one in self.standings for outcome in one.outcomes}.values())

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes as text; empty where there is no outcome."""
        return tuple(str(label) for label in self.standings[0].outcomes[0].classes) if self.standings else ()

    @property
    def n_texts(self) -> int:
        """Return the number of test texts."""
        return len(self.standings[0].outcomes[0].test.ids) if self.standings else 0

    @cached_property
    def pairs(self) -> dict[tuple[str, str], Estimate]:
        """Return by how much the first of each two variants is better than the second in the deciding metric."""
        known = [one for one in self.standings if one.estimate]
        return {(one.variant, other.variant): gap_between(one, other) for one, other in combinations(known, 2)}

    @cached_property
    def hardware(self) -> str:
        """Return the hardware that most variants were measured on."""
        return hardware_of(self.outcomes) if self.standings else ""

    def frontier(self, cost: str, metric: str) -> tuple[str, ...]:
        """Return the ranked variants on `hardware` that no other beats in both, cheapest first."""
        sign = 1 if higher_is_better(metric) else -1
        inside = [one for one in self.standings if one.is_ranked and one.hardware == self.hardware and metric in one.estimates]
        gains = {one.variant: sign * one.estimates[metric].value for one in inside}
        return frontier({one.variant: one.costs[cost] for one in inside}, gains)

    @cached_property
    def frontiers(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Return `frontier` for every cost and metric."""
        metrics = dict.fromkeys(name for one in self.standings for name in one.estimates)
        return {axis.name: {metric: self.frontier(axis.name, metric) for metric in metrics} for axis in AXES}


def build_verdict(  # noqa: PLR0913 - what stands beside the rows, each of its own kind
    study: Study,
    rows: Iterable[Row],
    missing: Iterable[Missing] = (),
    *,
    texts: Mapping[str, Text] | None = None,
    findings: Sequence[Mapping[str, Any]] = (),
    estimates: Sequence[Compared] = (),
    earlier: Earlier | None = None,
) -> Verdict:
    """Return what the outcomes in ``rows`` say.

    Args:
        study: Names the metric that decides.
        rows: Several seeds per variant; a method that its seed does not change may stand once, or once per seed.
        missing: The fits the study plans that have no outcome.
        texts: Test texts by id, for the errors to read.
        findings: The audit's findings, each with ``name``, ``passed`` and ``message``.
        estimates: What the latest run was estimated to take, beside what it took.
        earlier: The last comparison on other data.

    Raises:
        ComparisonError: If the outcomes do not answer the same test texts, or one fit is given twice.
    """
    found, lacking = standings(rows, study.metric), tuple(missing)
    return Verdict(
        study=study,
        standings=found,
        recommendation=recommend(found, lacking),
        hardest=hardest_texts(found, texts or {}),
        missing=lacking,
        findings=tuple(dict(finding) for finding in findings),
        estimates=tuple(estimates),
        earlier=earlier,
    )
