"""Checks of the audit that look for the same text, or nearly the same, in two places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewise.contracts import PARTS
from tunewise.data.duplicates import MAX_HOLDERS, NONE, elders, equal_elders
from tunewise.data.findings import Finding, counted, first_rows, shown
from tunewise.data.forms import numbered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunewise.contracts import Label, Part
    from tunewise.data.forms import Forms


@dataclass(frozen=True, eq=False)
class Sided:
    """All rows of a split, the training rows before the development rows before the test rows."""

    rows: Part
    sides: np.ndarray
    """Index into `PARTS` of each row. Shape: (n_rows,)."""
    classes: tuple[Label, ...]
    forms: Forms


def copies(split: Sided) -> Iterator[Finding]:
    """Yield the findings on exact and near duplicates within and across sides."""
    exact = equal_elders(numbered(split.rows.texts)[0], split.sides)
    near = elders(split.forms, split.sides)
    bound = (
        f" Of {counted(near.n_bounded, 'text')} that share a template with many others, near copies were looked for among the "
        f"{MAX_HOLDERS:,} eldest of these alone."
        if near.n_bounded
        else ""
    )
    yield _within(split, "exact_duplicates", ("copies another", "copy others"), exact.same)
    near_within = np.where(exact.same == NONE, near.same, NONE)
    yield _within(split, "near_duplicates", ("nearly repeats another", "nearly repeat others"), near_within, bound)
    yield _across(split, "exact_duplicates_across_sides", "have an exact copy", exact.other)
    near_across = np.where(exact.other == NONE, near.other, NONE)
    yield _across(split, "near_duplicates_across_sides", "have a near copy", near_across, bound)


def contradictions(split: Sided) -> Finding:
    """Return the finding on duplicates of different classes."""
    found = elders(split.forms, split.rows.labels).other
    n = int((found != NONE).sum())
    message = (
        f"{counted(n, 'text')} (nearly) repeated with another class: of each two labels one is wrong, and no method can "
        "have both right."
        if n
        else "No two duplicates have different classes."
    )
    return Finding("contradicting_labels", not n, message, first_rows(_shown(split, found)))


def _within(split: Sided, name: str, verbs: tuple[str, str], found: np.ndarray, bound: str = "") -> Finding:
    counts = np.bincount(split.sides[found != NONE], minlength=len(PARTS))
    where = ", ".join(f"{n:,} in {side}" for side, n in zip(PARTS, counts, strict=True) if n)
    n = int(counts.sum())
    message = (
        f"{counted(n, 'text')} {verbs[n > 1]} on the same side ({where}): such rows count twice."
        if n
        else f"No text {verbs[0]} on the same side."
    )
    return Finding(name, not n, message + bound, first_rows(_shown(split, found)))


def _across(split: Sided, name: str, verb: str, found: np.ndarray, bound: str = "") -> Finding:
    parts = []
    for side in (1, 2):
        n, total = int((found[split.sides == side] != NONE).sum()), int((split.sides == side).sum())
        if n:
            parts.append(f"{n:,} of {total:,} {PARTS[side]} texts ({100 * n / total:.2g}%) {verb} in {' or '.join(PARTS[:side])}")
    message = (
        f"{'; '.join(parts)}: a method may know their answer by heart, which flatters the score."
        if parts
        else f"No held-out texts {verb} on another side."
    )
    return Finding(name, not parts, message + bound, first_rows(_shown(split, found)))


def _shown(split: Sided, found: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yield the facts of each row that has an elder in ``found``, and of this elder."""
    for copy in np.flatnonzero(found != NONE).tolist():
        facts: dict[str, Any] = {}
        for key, row in (("", copy), ("other_", int(found[copy]))):
            facts[f"{key}id"] = split.rows.ids[row]
            facts[f"{key}side"] = PARTS[split.sides[row]]
            facts[f"{key}class"] = split.classes[split.rows.labels[row]]
            facts[f"{key}text"] = shown(split.rows.texts[row])
        yield facts
