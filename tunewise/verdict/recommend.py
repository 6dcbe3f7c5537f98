"""Which variant to use, in one sentence, and why.

The rule: of the variants that learned something, the best is the one with the best mean. Those whose
paired interval of the difference to it holds 0 cannot be told from it on these texts and form its tie
group. Of the group, those that answer a text nearly as fast as the fastest are kept, and of these the
one that is fitted fastest is recommended. Costs from other hardware than the best's do not compete.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunewise.evaluation.metrics import higher_is_better
from tunewise.verdict.standing import Standing, gap_between
from tunewise.verdict.wording import METRIC_NAMES, METRIC_TITLES, claim, count, gap, listed, score, times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunewise.evaluation.intervals import Estimate
    from tunewise.outcome import Missing

AS_FAST = 1.25
"""Prediction times within this ratio count as equal: what the same fit varies by from run to run on a shared machine."""

WORTH_NAMING = 2.0
"""A worse variant is named as the cheaper choice from this ratio of costs on."""


@dataclass(frozen=True)
class Cheaper:
    """A variant that is worse than the recommended one and much cheaper."""

    variant: str
    cost: str
    """``predict_ms`` or ``fit_and_features_seconds``: where it saves more."""
    ratio: float
    gap: Estimate
    """By how much the recommended one is better."""


@dataclass(frozen=True)
class Recommendation:
    """What to use; no variant where none learned anything."""

    headline: str
    """What to use and how good it is, or that there is nothing to use; without a full stop."""
    comparison: str
    """What cannot be told from it; empty where nothing."""
    alternative: str
    """What is worse and much cheaper; empty where nothing."""
    reservation: str
    """Which planned variants had no say because they have no outcome; empty where all have one."""
    chosen: str | None
    best: str | None
    tied: tuple[str, ...]
    """The best and all that cannot be told from it, best first."""
    cheaper: Cheaper | None
    notes: tuple[str, ...]
    """What the sentence rests on and what it leaves open, a sentence each."""

    @property
    def sentence(self) -> str:
        """Return the headline and what belongs to it, as one or two sentences."""
        first = "; ".join(part for part in (self.headline, self.comparison) if part)
        return " ".join(f"{part}." for part in (first, self.alternative, self.reservation) if part)


def recommend(standings: Sequence[Standing], missing: Sequence[Missing]) -> Recommendation:
    """Return the recommendation among ``standings``, which come best first."""
    ranked = [standing for standing in standings if standing.is_ranked]
    if not ranked:
        return Recommendation(_nothing(standings, missing), "", "", "", None, None, (), None, _notes_on_missing(missing))
    best = ranked[0]
    tied = [one for one in ranked if one is best or gap_between(best, one).holds(0)]
    chosen = _cheapest([one for one in tied if one.hardware == best.hardware])
    cheaper = _cheaper(chosen, [one for one in ranked if one not in tied and one.hardware == chosen.hardware])
    return Recommendation(
        headline=f"Use {chosen.variant}: {claim(chosen.metric, chosen.estimates[chosen.metric])}",
        comparison=_comparison(chosen, best, [one for one in tied if one is not chosen]),
        alternative=_alternative(chosen, cheaper) if cheaper else "",
        reservation=_reservation(standings, missing),
        chosen=chosen.variant,
        best=best.variant,
        tied=tuple(one.variant for one in tied),
        cheaper=cheaper,
        notes=(*_notes(chosen, best, tied, standings), *_notes_on_missing(missing)),
    )


def _cheapest(group: Sequence[Standing]) -> Standing:
    limit = AS_FAST * min(one.costs["predict_ms"] for one in group)
    return min((one for one in group if one.costs["predict_ms"] <= limit), key=lambda one: one.costs["fit_and_features_seconds"])


def _cheaper(chosen: Standing, others: Sequence[Standing]) -> Cheaper | None:
    """Return the best of ``others`` that saves a lot and costs no more elsewhere; answering counts before fitting."""
    for other in others:
        ratios = {cost: _ratio(chosen.costs[cost], other.costs[cost]) for cost in ("predict_ms", "fit_and_features_seconds")}
        if max(ratios.values()) >= WORTH_NAMING and min(ratios.values()) >= 1 / AS_FAST:
            cost = "predict_ms" if ratios["predict_ms"] >= WORTH_NAMING else "fit_and_features_seconds"
            return Cheaper(other.variant, cost, ratios[cost], gap_between(chosen, other))
    return None


def _comparison(chosen: Standing, best: Standing, others: Sequence[Standing]) -> str:
    """Return what cannot be told from the chosen one; where the best mean is another's, that one first."""
    if not others:
        return ""
    if chosen is best:
        return f"{listed([one.variant for one in others])} cannot be told from it{_and_takes(chosen, others)}"
    value = score(best.metric, best.estimates[best.metric].value)
    takes = _and_takes(chosen, [best])
    return f"{best.variant} has the best mean ({value}), but cannot be told from it on these texts{takes}"


def _and_takes(chosen: Standing, others: Sequence[Standing]) -> str:
    """Return how much dearer ``others`` are, where they all are and were measured on the same hardware."""
    verb = "takes" if len(others) == 1 else "take"
    if any(one.hardware != chosen.hardware for one in others):
        return ""
    for cost, doing in (("predict_ms", "answer a text"), ("fit_and_features_seconds", "fit")):
        ratios = sorted(_ratio(one.costs[cost], chosen.costs[cost]) for one in others)
        if ratios[0] >= AS_FAST:
            ends = list(dict.fromkeys(times(ratio) for ratio in (ratios[0], ratios[-1])))
            return f" and {verb} {' to '.join([*(end.removesuffix(' times') for end in ends[:-1]), ends[-1]])} as long to {doing}"
    return ""


def _alternative(chosen: Standing, cheaper: Cheaper) -> str:
    doing = "answers" if cheaper.cost == "predict_ms" else "fits"
    worse = "lower" if higher_is_better(chosen.metric) else "higher in log loss"
    return f"{cheaper.variant} {doing} {times(cheaper.ratio)} as fast and is {gap(chosen.metric, cheaper.gap.value)} {worse}"


def _reservation(standings: Sequence[Standing], missing: Sequence[Missing]) -> str:
    present = {one.variant for one in standings}
    absent = list(dict.fromkeys(fit.variant for fit in missing if fit.variant not in present))
    if len(absent) > 2:
        return f"{len(absent)} of {len(absent) + len(present)} variants have no outcome"
    return f"{listed(absent)} {'has' if len(absent) == 1 else 'have'} no outcome" if absent else ""


def _nothing(standings: Sequence[Standing], missing: Sequence[Missing]) -> str:
    """Return the sentence where there is nothing to recommend."""
    if not standings:
        n_failed = len({fit.variant for fit in missing if fit.reason == "failed"})
        rest = f" ({n_failed} of {len({fit.variant for fit in missing})} variants failed)" if n_failed else ""
        return f"There is nothing to compare yet: no variant has an outcome{rest}"
    if any(one.has_learned for one in standings):
        name = METRIC_NAMES[standings[0].metric]
        return f"No variant can be ranked by {name}: those that learned something give no probabilities"
    n = count(len(standings[0].outcomes[0].test.ids))
    learners = [one for one in standings if not one.is_yardstick]
    if not learners:
        return f"There is nothing to recommend: {standings[0].variant} looks at no text and no other variant has an outcome"
    whom = f"{learners[0].variant} does no" if len(learners) == 1 else f"none of {len(learners)} variants does"
    return f"No variant learned anything: on {n} test texts {whom} better than chance. Look at the labels before trying more"


def _notes(chosen: Standing, best: Standing, tied: Sequence[Standing], standings: Sequence[Standing]) -> list[str]:
    title = METRIC_TITLES[chosen.metric]
    notes = [f"{title} decides, as the study asks. Intervals are 95% and count the draw of test texts and of seeds."]
    if len(tied) > 1:
        names = listed([one.variant for one in tied], at_most=6)
        n = count(best.estimates[best.metric].n_texts)
        notes.append(
            f"{names} cannot be told apart on these {n} texts. {chosen.variant} is the cheapest of them: first by the time "
            f"to answer a text (within {AS_FAST - 1:.0%} counts as equal), then by the time to fit."
        )
    elif rest := [one for one in standings if one.is_ranked and one is not best]:
        lead = gap_between(best, rest[0])
        ends = " to ".join(gap(best.metric, end).removesuffix(" points") for end in (lead.low, lead.high))
        notes.append(f"{best.variant} is better than {rest[0].variant}, the next, by {gap(best.metric, lead.value)} ({ends}).")
    if few := [one.variant for one in standings if one.seeds_are_few]:
        notes.append(f"One seed each, so their intervals count the draw of test texts alone: {listed(few, at_most=6)}.")
    if marked := [one.variant for one in standings if not one.has_learned and not one.is_yardstick]:
        notes.append(f"Not ranked, because they learned nothing: {listed(marked, at_most=6)}.")
    if other := [one.variant for one in standings if one.hardware != best.hardware]:
        notes.append(f"Measured on other hardware, so their costs do not compete: {listed(other, at_most=6)}.")
    return notes


def _notes_on_missing(missing: Sequence[Missing]) -> tuple[str, ...]:
    words = {"failed": "failed", "never ran": "never ran", "stale": "out of date"}
    told = dict.fromkeys(f"{fit.variant} ({words[fit.reason]})" for fit in missing)
    return (f"The verdict is without these fits: {listed(list(told), at_most=6)}.",) if told else ()


def _ratio(one: float, other: float) -> float:
    return one / other if other else float("inf") if one else 1.0
