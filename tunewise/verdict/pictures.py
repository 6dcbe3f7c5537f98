"""What the page's pictures are drawn from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tunewise.methods import FAMILIES
from tunewise.verdict.costs import AXES
from tunewise.verdict.numbers import plain
from tunewise.verdict.reading import confusion_of, mixed_up
from tunewise.verdict.wording import METRIC_TITLES, interval, quantity, score, visible

if TYPE_CHECKING:
    from tunewise.evaluation.intervals import Estimate
    from tunewise.outcome import Outcome
    from tunewise.verdict.conclusion import Verdict
    from tunewise.verdict.standing import Standing

MOST_CLASSES = 100
"""Above this many classes a matrix cannot be read, and the page names the most frequent mistakes alone."""

MOST_POINTS = 200
"""Points of a training curve that a picture shows."""

LONGEST_LABEL = 80
"""Characters of a class that a picture's captions show."""


def payload(verdict: Verdict) -> dict[str, Any]:
    """Return what the page's pictures are drawn from, as plain JSON values."""
    return plain(
        {
            "metrics": [{"name": name, "title": METRIC_TITLES[name]} for name in metrics(verdict)],
            "axes": [{"name": axis.name, "title": axis.title, "unit": axis.unit} for axis in AXES],
            "frontiers": {
                cost: {metric: [visible(name) for name in names] for metric, names in of_metric.items()}
                for cost, of_metric in verdict.frontiers.items()
            },
            "classes": [visible(label, at_most=LONGEST_LABEL) for label in verdict.classes],
            "variants": [_picture(verdict, one) for one in verdict.standings],
        }
    )


def metrics(verdict: Verdict) -> list[str]:
    """Return the metrics that some variant has, the deciding one first."""
    found = dict.fromkeys(name for one in verdict.standings for name in one.estimates)
    return sorted(found, key=lambda name: name != verdict.metric)


def families(verdict: Verdict) -> list[dict[str, str]]:
    """Return the families that occur, in the catalogue's order."""
    found = {one.family for one in verdict.standings}
    known = [family for family in FAMILIES if family in found]
    return [{"name": family, "class": family_class(family)} for family in (*known, *sorted(found - set(known)))]


def family_class(family: str) -> str:
    """Return the family as a class of the style sheet; ``other`` for one the page has no colour for."""
    return family if family in FAMILIES else "other"


def _picture(verdict: Verdict, one: Standing) -> dict[str, Any]:
    confusion = confusion_of(one, len(verdict.classes))
    texts = {axis.name: quantity(axis.unit, one.costs[axis.name]) for axis in AXES}
    cells = zip(*confusion.nonzero(), strict=True)
    return {
        "name": visible(one.variant),
        "family": one.family,
        "is_ranked": one.is_ranked,
        "is_chosen": one.variant == verdict.recommendation.chosen,
        "is_tied": one.variant in verdict.recommendation.tied,
        "is_on_main_hardware": one.hardware == verdict.hardware,
        "costs": one.costs,
        "cost_texts": texts,
        "facts": [f"{axis.title}: {texts[axis.name]}" for axis in AXES],
        "scores": {name: _score(name, given) for name, given in one.estimates.items()},
        "confusion": [[i, j, confusion[i, j]] for i, j in cells] if len(verdict.classes) <= MOST_CLASSES else None,
        "mixed_up": [[i, j, f"{part:.1%}"] for i, j, part in mixed_up(confusion)],
        "curves": [{"seed": outcome.seed, "series": _series(outcome)} for outcome in one.outcomes if outcome.curve],
    }


def _score(name: str, given: Estimate) -> dict[str, Any]:
    told = {"text": interval(name, given), "short": score(name, given.value)}
    return {"value": given.value, "low": given.low, "high": given.high, **told}


def _series(outcome: Outcome) -> dict[str, list[list[float]]]:
    """Return each value of the curve as steps and values, every so many points where there are too many."""
    keys = dict.fromkeys(key for point in outcome.curve for key in point if key not in ("step", "epoch"))
    found: dict[str, list[list[float]]] = {}
    for key in keys:
        points = [(point.get("step", float(i)), point[key]) for i, point in enumerate(outcome.curve) if key in point]
        kept = points[:: -(-len(points) // MOST_POINTS)]
        found[key] = [[step for step, _ in kept], [float(f"{value:.5g}") for _, value in kept]]
    return found
