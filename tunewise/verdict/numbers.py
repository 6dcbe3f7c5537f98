"""The verdict for machines: every number of the page and those it leaves out, as plain JSON values."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any

from tunewise.evaluation.metrics import METRICS, higher_is_better
from tunewise.verdict.reading import confusion_of

if TYPE_CHECKING:
    from tunewise.evaluation.intervals import Estimate
    from tunewise.outcome import Outcome
    from tunewise.verdict.conclusion import Verdict
    from tunewise.verdict.reading import HardText
    from tunewise.verdict.standing import Standing

FORMAT = 2
"""Raised when a name in the JSON changes its meaning or goes."""


def numbers(verdict: Verdict) -> dict[str, Any]:
    """Return the whole verdict; what is infinite or not a number is null."""
    recommendation = asdict(verdict.recommendation) | {"cheaper": _cheaper(verdict)}
    return plain(
        {
            "format": FORMAT,
            "study": verdict.study.name,
            "sentence": verdict.sentence,
            "metric": verdict.metric,
            "higher_is_better": higher_is_better(verdict.metric),
            "n_test_texts": verdict.n_texts,
            "classes": list(verdict.standings[0].outcomes[0].classes) if verdict.standings else [],
            "hardware": verdict.hardware,
            "recommendation": recommendation,
            "variants": [_variant(verdict, standing) for standing in verdict.standings],
            "pairs": [{"one": one, "other": other, **estimate(gap)} for (one, other), gap in verdict.pairs.items()],
            "frontiers": verdict.frontiers,
            "hardest_texts": [_hard_text(text) for text in verdict.hardest],
            "missing": [asdict(fit) for fit in verdict.missing],
            "audit": verdict.findings,
            "earlier": verdict.earlier and asdict(verdict.earlier),
            "estimates": [asdict(one) for one in verdict.estimates],
            "study_file": verdict.study.model_dump(mode="json"),
        }
    )


def estimate(given: Estimate) -> dict[str, float]:
    """Return an estimate's fields and what follows from them."""
    return asdict(given) | {"standard_error": given.standard_error, "seeds_share": given.seeds_share}


def plain(value: Any) -> Any:
    """Return a value made of JSON's types alone."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)


def _variant(verdict: Verdict, standing: Standing) -> dict[str, Any]:
    return {
        "variant": standing.variant,
        "method": standing.method,
        "family": standing.family,
        "backbone": standing.outcomes[0].backbone,
        "is_ranked": standing.is_ranked,
        "is_recommended": standing.variant == verdict.recommendation.chosen,
        "is_tied_with_the_best": standing.variant in verdict.recommendation.tied,
        "marks": standing.marks,
        "is_seeded": standing.is_seeded,
        "seeds": standing.seeds,
        "test": {metric: estimate(given) for metric, given in standing.estimates.items()},
        "development": standing.development,
        "costs": standing.costs,
        "hardware": standing.hardware,
        "settings": standing.outcomes[0].settings,
        "settings_changed": standing.outcomes[0].settings_changed,
        "confusion": _cells(confusion_of(standing, len(verdict.classes))),
        "outcomes": [_outcome(outcome) for outcome in standing.outcomes],
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    answers = outcome.test.answers
    metrics = [name for name in METRICS if name != "log_loss" or answers.probabilities is not None]
    return {
        "key": outcome.key,
        "seed": outcome.seed,
        "test": {name: METRICS[name](answers) for name in metrics},
        "costs": asdict(outcome.costs),
        "hardware": outcome.hardware,
        "conditions": outcome.conditions,
        "chosen": outcome.chosen,
        "marks": outcome.marks,
        "curve": outcome.curve,
        "provenance": outcome.provenance,
    }


def _cells(confusion: Any) -> list[list[int]]:
    """Return true class, answered class and count of every cell that is not empty."""
    rows, columns = confusion.nonzero()
    return [[int(i), int(j), int(confusion[i, j])] for i, j in zip(rows, columns, strict=True)]


def _hard_text(text: HardText) -> dict[str, Any]:
    return {"id": text.id, "label": text.label, "n_wrong": text.n_wrong, "answers": [asdict(answer) for answer in text.answers]}


def _cheaper(verdict: Verdict) -> dict[str, Any] | None:
    found = verdict.recommendation.cheaper
    return {"variant": found.variant, "cost": found.cost, "ratio": found.ratio, "gap": estimate(found.gap)} if found else None
