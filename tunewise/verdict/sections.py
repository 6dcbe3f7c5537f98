"""The page's lists: errors to read, fits without an outcome, the audit, provenance."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tunewise.verdict.numbers import plain
from tunewise.verdict.wording import count, listed, sides

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tunewise.outcome import Outcome
    from tunewise.verdict.conclusion import Verdict
    from tunewise.verdict.standing import Standing

MOST_ROWS = 8
"""Rows of an audit's finding that the page shows."""

NOT_SHOWN = ("determinants.", "code.")
"""Parts of the provenance that repeat what the page says elsewhere; the JSON holds them."""


def hardest(verdict: Verdict) -> list[dict[str, Any]]:
    """Return the texts most variants get wrong, with the answers as text."""
    return [
        {
            "id": text.id,
            "sides": sides(text.text) if text.text is not None else (),
            "label": verdict.classes[text.label],
            "n_wrong": text.n_wrong,
            "answers": [
                {
                    "variant": answer.variant,
                    "label": verdict.classes[answer.label],
                    "probability": "" if answer.probability is None else f"{answer.probability:.2f}",
                    "is_right": answer.is_right,
                }
                for answer in text.answers
            ],
        }
        for text in verdict.hardest
    ]


def missing(verdict: Verdict) -> list[dict[str, Any]]:
    """Return the fits without an outcome; variants that lack the same seeds for the same reason stand together."""
    seeds: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for fit in verdict.missing:
        seeds[fit.variant, fit.reason, fit.message].append(str(fit.seed))
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (variant, reason, message), of_variant in seeds.items():
        told = f"{'seed' if len(of_variant) == 1 else 'seeds'} {listed(of_variant, at_most=6)}"
        groups[reason, message, told].append(variant)
    return [
        {"variants": variants, "reason": reason, "message": message, "seeds": told}
        for (reason, message, told), variants in groups.items()
    ]


def findings(verdict: Verdict) -> list[dict[str, Any]]:
    """Return the audit's findings, what needs a look first, each with its rows as a table of text."""
    return [_finding(one) for one in sorted(verdict.findings, key=lambda one: bool(one["passed"]))]


def conditions(verdict: Verdict) -> str:
    """Return what the fits were held to, as the end of a sentence; differing values stand side by side."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for outcome in verdict.outcomes:
        for key, value in outcome.conditions.items():
            found[key][count(value) if isinstance(value, int) else str(value)] = None
        if "n_split_train_rows" in outcome.provenance:
            found["of"][count(outcome.provenance["n_split_train_rows"])] = None
    all_rows = f"of {' or '.join(found['of'])} " if found["of"] else ""
    words = {
        "budget": "{} budget",
        "n_train_rows": f"{{}} {all_rows}training rows",
        "epochs": "at most {} epochs",
        "class_weights": "class weights {}",
    }
    told = [text.format(" or ".join(found[key])) for key, text in words.items() if key in found]
    return f" Held for all fits: {', '.join(told)}." if told else ""


def provenance(outcomes: Iterable[Outcome]) -> list[tuple[str, str]]:
    """Return each dotted name in the outcomes' provenance with its value, or its different values."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for outcome in outcomes:
        for key, value in _flat(outcome.provenance):
            found[key][_brief(value)] = None
    return [(key, _told(list(values))) for key, values in found.items() if not key.startswith(NOT_SHOWN)]


def settings_text(standing: Standing) -> str:
    """Return the settings that differ from their defaults: ``rank 32, targets query key``."""
    changed = standing.outcomes[0].settings_changed
    return ", ".join(f"{key} {_brief(value)}" for key, value in changed.items())


def _finding(given: Mapping[str, Any]) -> dict[str, Any]:
    rows = [dict(row) for row in given.get("rows", ())][:MOST_ROWS]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return {
        "name": str(given["name"]).replace("_", " "),
        "passed": bool(given["passed"]),
        "message": given["message"],
        "columns": columns,
        "rows": [[_brief(row.get(column, "")) for column in columns] for row in rows],
    }


def _told(values: list[str]) -> str:
    """Return a few values side by side, many as the first and the last."""
    return listed(sorted(values), at_most=4) if len(values) <= 4 else f"{min(values)} to {max(values)} ({len(values)} values)"


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _brief(value: Any) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, (list, tuple)):
        return " ".join(str(item) for item in value)
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
