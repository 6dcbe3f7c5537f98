"""The table of variants, cell by cell, as the page's template takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tunewise.evaluation.metrics import higher_is_better
from tunewise.verdict.pictures import family_class
from tunewise.verdict.sections import settings_text
from tunewise.verdict.wording import METRIC_TITLES, count, interval, score, seconds, share, size

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunewise.verdict.conclusion import Verdict
    from tunewise.verdict.standing import Standing

WIDTH = 200
"""Units across an interval's drawing."""


def rows(verdict: Verdict) -> list[dict[str, Any]]:
    """Return a dict per variant for the table: its name and warnings, the drawn interval, the other cells."""
    place = _scale(verdict)
    return [
        {
            "index": i,
            "is_first": _is_chosen(verdict, one),
            "variant": one.variant,
            "family": one.family,
            "family_class": family_class(one.family),
            "settings": settings_text(one),
            "marks": one.marks,
            "class": " ".join(["chosen"] * _is_chosen(verdict, one) + ["unranked"] * (not one.is_ranked)),
            "badges": _badges(verdict, one),
            "score": _score_cell(one),
            "bar": _bar(one, place) if one.is_ranked else None,
            "cells": _cells(verdict, one),
            "has_curve": bool(one.outcomes[0].curve),
        }
        for i, one in enumerate(verdict.standings)
    ]


def columns(verdict: Verdict) -> list[dict[str, Any]]:
    """Return the headings that belong to `rows`; a first click on one puts the better values on top."""
    less = not higher_is_better(verdict.metric)
    deciding = _column(METRIC_TITLES[verdict.metric], "95% interval", less_is_better=less)
    deciding |= {"is_number": False, "sorts": "ascending" if less else "descending"}
    return [
        _column("Variant") | {"is_number": False},
        deciding,
        *(_column(METRIC_TITLES[name], less_is_better=not higher_is_better(name)) for name in _other_metrics(verdict)),
        _column("Fit", "and features"),
        _column("Latency", "one text alone"),
        _column("Texts/s", "32 at once", less_is_better=False),
        _column("Memory", "added by fit"),
        _column("Stored", "on disk"),
        _column("Trained", "of all"),
        _column("Seeds", less_is_better=False),
    ]


def facts(verdict: Verdict) -> list[dict[str, str]]:
    """Return the recommended variant's numbers in large type; empty where there is none."""
    chosen = next((one for one in verdict.standings if _is_chosen(verdict, one)), None)
    if chosen is None:
        return []
    estimate = chosen.estimates[verdict.metric]
    value, _, ends = interval(verdict.metric, estimate).partition(" ")
    costs = chosen.outcomes[0].costs
    return [
        {"title": METRIC_TITLES[verdict.metric], "value": value, "note": ends.strip("()")},
        {"title": "Fits in", "value": seconds(chosen.costs["fit_and_features_seconds"]), "note": _features_note(chosen)},
        {"title": "Answers one text in", "value": seconds(chosen.costs["latency_ms"] / 1000), "note": _throughput_note(chosen)},
        {"title": "Adds memory", "value": size(chosen.costs["peak_above_start_bytes"]), "note": "the fit's peak above its start"},
        {
            "title": "Stores",
            "value": size(chosen.costs["stored_bytes"]),
            "note": f"trains {share(costs.n_trained_parameters, costs.n_total_parameters)} of all numbers",
        },
    ]


def chance(verdict: Verdict) -> float | None:
    """Return where the share of the most frequent test class lies on the intervals' scale; none outside it."""
    if verdict.metric != "accuracy" or not verdict.standings:
        return None
    labels = verdict.standings[0].outcomes[0].test.answers.labels
    place = _scale(verdict)(float(np.bincount(labels).max() / len(labels)))
    return place if 0 <= place <= WIDTH else None


def _column(title: str, unit: str = "", *, less_is_better: bool = True) -> dict[str, Any]:
    return {"title": title, "unit": unit, "less_is_better": less_is_better, "is_number": True, "sorts": ""}


def _other_metrics(verdict: Verdict) -> list[str]:
    return [name for name in ("accuracy", "macro_f1", "log_loss") if name != verdict.metric]


def _is_chosen(verdict: Verdict, one: Standing) -> bool:
    return one.variant == verdict.recommendation.chosen


def _badges(verdict: Verdict, one: Standing) -> list[str]:
    found = verdict.recommendation
    told = {"recommended": one.variant == found.chosen, "best mean": one.variant == found.best and found.best != found.chosen}
    is_tied = one.variant in found.tied and len(found.tied) > 1 and not any(told.values())
    return [badge for badge, holds in {**told, "tied": is_tied}.items() if holds]


def _score_cell(one: Standing) -> dict[str, Any]:
    if one.estimate is None:
        return {"sort": "", "value": "–", "ends": ""}
    value, _, ends = interval(one.metric, one.estimate).partition(" ")
    return {"sort": one.estimate.value, "value": value, "ends": ends.strip("()")}


def _cells(verdict: Verdict, one: Standing) -> list[dict[str, Any]]:
    first = one.outcomes[0].costs
    values = {name: given.value for name, given in one.estimates.items()}
    throughput = float(np.median([outcome.costs.throughput for outcome in one.outcomes]))
    n_planned = len(verdict.study.seeds)
    seeds = (
        "any" if not one.is_seeded else f"{len(one.seeds)} of {n_planned}" if len(one.seeds) < n_planned else str(len(one.seeds))
    )
    return [
        *(_cell(values.get(name, ""), score(name, values.get(name))) for name in _other_metrics(verdict)),
        _cell(one.costs["fit_and_features_seconds"], seconds(one.costs["fit_and_features_seconds"]), _features_note(one)),
        _cell(one.costs["latency_ms"], seconds(one.costs["latency_ms"] / 1000)),
        _cell(throughput, count(throughput)),
        _cell(one.costs["peak_above_start_bytes"], size(one.costs["peak_above_start_bytes"])),
        _cell(one.costs["stored_bytes"], size(one.costs["stored_bytes"])),
        _cell(first.n_trained_parameters, share(first.n_trained_parameters, first.n_total_parameters)),
        _cell(len(one.seeds), seeds),
    ]


def _cell(sort: float | str, text: str, note: str = "") -> dict[str, Any]:
    return {"sort": sort, "text": text, "note": note}


def _features_note(one: Standing) -> str:
    features = float(np.median([outcome.costs.features_seconds for outcome in one.outcomes]))
    return f"{seconds(features)} features" if features else ""


def _throughput_note(one: Standing) -> str:
    return f"{count(float(np.median([outcome.costs.throughput for outcome in one.outcomes])))} texts a second in batches"


def _scale(verdict: Verdict) -> Callable[[float], float]:
    """Return the function from a score to its place on the scale that all intervals share."""
    known = [one.estimates[verdict.metric] for one in verdict.standings if one.is_ranked]
    low, high = min((given.low for given in known), default=0.0), max((given.high for given in known), default=1.0)
    return lambda value: round(WIDTH * (value - low) / ((high - low) or 1.0), 1)


def _bar(one: Standing, place: Callable[[float], float]) -> dict[str, Any]:
    estimate = one.estimates[one.metric]
    each = one.values[one.metric].mean(axis=1) if len(one.outcomes) > 1 else ()
    return {
        "low": place(estimate.low),
        "high": place(estimate.high),
        "mean": place(estimate.value),
        "seeds": [place(float(value)) for value in each],
    }
