"""Checks of the audit that look for the same text, or nearly the same, in two places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewise.contracts import PARTS
from tunewise.data.duplicates import eldest_by_group
from tunewise.data.findings import Finding, counted, first_rows, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunewise.contracts import Label, Part, Text
    from tunewise.data.forms import Forms


@dataclass(frozen=True, eq=False)
class Sided:
    """All rows of a split, the training rows before the development rows before the test rows."""

    rows: Part
    sides: np.ndarray
    """Index into `PARTS` of each row. Shape: (n_rows,)."""
    classes: tuple[Label, ...]
    forms: Forms


@dataclass(frozen=True)
class _Copy:
    row: int
    of: int


def copies(split: Sided) -> Iterator[Finding]:
    """Yield the findings on exact and near duplicates within and across sides."""
    exact = _exact_elders(split)
    near = eldest_by_group(split.forms, split.sides, range(len(split.rows)))
    within, across = _sorted_out(split, exact)
    yield _within(split, "exact_duplicates", ("copies another", "copy others"), within)
    exact_rows = {copy.row for copy in within}, {copy.row for copy in across}
    near_within, near_across = _sorted_out(split, near)
    near_within = [copy for copy in near_within if copy.row not in exact_rows[0]]
    near_across = [copy for copy in near_across if copy.row not in exact_rows[1]]
    yield _within(split, "near_duplicates", ("nearly repeats another", "nearly repeat others"), near_within)
    yield _across(split, "exact_duplicates_across_sides", "have an exact copy", across)
    yield _across(split, "near_duplicates_across_sides", "have a near copy", near_across)


def contradictions(split: Sided) -> Finding:
    """Return the finding on duplicates of different classes."""
    labels = split.rows.labels
    found = eldest_by_group(split.forms, labels, range(len(split.rows)))
    pairs = [
        _Copy(row, min(others))
        for row, elders in found.items()
        if (others := [elder for label, elder in elders.items() if label != labels[row]])
    ]
    message = (
        f"{counted(len(pairs), 'text')} (nearly) repeated with another class: of each two labels one is wrong, and no method can "
        "have both right."
        if pairs
        else "No two duplicates have different classes."
    )
    return Finding("contradicting_labels", not pairs, message, first_rows(_shown(split, copy) for copy in pairs))


def _exact_elders(split: Sided) -> dict[int, dict[int, int]]:
    seen: dict[Text, dict[int, int]] = {}
    found: dict[int, dict[int, int]] = {}
    for row, (text, side) in enumerate(zip(split.rows.texts, split.sides.tolist(), strict=True)):
        elders = seen.setdefault(text, {})
        if elders:
            found[row] = dict(elders)
        elders.setdefault(side, row)
    return found


def _sorted_out(split: Sided, found: dict[int, dict[int, int]]) -> tuple[list[_Copy], list[_Copy]]:
    """Return the copies of a row on the same side, and those of a row on an earlier one."""
    within, across = [], []
    for row, elders in found.items():
        side = int(split.sides[row])
        if side in elders:
            within.append(_Copy(row, elders[side]))
        if others := [elder for other, elder in elders.items() if other != side]:
            across.append(_Copy(row, min(others)))
    return within, across


def _within(split: Sided, name: str, verbs: tuple[str, str], found: list[_Copy]) -> Finding:
    counts = np.bincount(split.sides[[copy.row for copy in found]], minlength=len(PARTS)) if found else []
    where = ", ".join(f"{n:,} in {side}" for side, n in zip(PARTS, counts, strict=False) if n)
    message = (
        f"{counted(len(found), 'text')} {verbs[len(found) > 1]} on the same side ({where}): such rows count twice."
        if found
        else f"No text {verbs[0]} on the same side."
    )
    return Finding(name, not found, message, first_rows(_shown(split, copy) for copy in found))


def _across(split: Sided, name: str, verb: str, found: list[_Copy]) -> Finding:
    parts = []
    for side in (1, 2):
        n, total = sum(split.sides[copy.row] == side for copy in found), int((split.sides == side).sum())
        if n:
            parts.append(f"{n:,} of {total:,} {PARTS[side]} texts ({100 * n / total:.2g}%) {verb} in {' or '.join(PARTS[:side])}")
    message = (
        f"{'; '.join(parts)}: a method may know their answer by heart, which flatters the score."
        if found
        else f"No held-out texts {verb} on another side."
    )
    return Finding(name, not found, message, first_rows(_shown(split, copy) for copy in found))


def _shown(split: Sided, copy: _Copy) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for key, row in (("", copy.row), ("other_", copy.of)):
        facts[f"{key}id"] = split.rows.ids[row]
        facts[f"{key}side"] = PARTS[split.sides[row]]
        facts[f"{key}class"] = split.classes[split.rows.labels[row]]
        facts[f"{key}text"] = shown(split.rows.texts[row])
    return facts
