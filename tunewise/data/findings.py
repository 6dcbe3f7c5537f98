"""What an audit says: one finding per check, in plain words, with a small table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunewise.contracts import Text

MAX_ROWS = 20
MAX_CHARACTERS = 200

CHECKS = {
    "missing_values": "Rows without a text or a label, which are left out.",
    "unreadable_characters": "Texts with characters that could not be read, and encodings that were guessed.",
    "exact_duplicates": "Texts that stand more than once on one side of the split.",
    "near_duplicates": "Texts that are nearly those of other rows on the same side.",
    "exact_duplicates_across_sides": "Held-out texts that are also on another side of the split.",
    "near_duplicates_across_sides": "Held-out texts that are nearly those of rows on another side of the split.",
    "contradicting_labels": "Duplicates that have different classes.",
    "classes_in_training": "Every class has training rows; with fewer than two nothing is fitted.",
    "classes_held_out": "Every class has development rows and test rows.",
    "small_classes": "Every class has at least 5 training rows.",
    "class_balance": "No class has more than 10 times the training rows of another.",
    "leaked_label": "No single word gives a class away.",
    "text_lengths": "Texts fit the limit of the backbone.",
}
"""Every check by name, with what it looks at; an audit has one finding for each, in this order."""

BLOCKING = frozenset({"classes_in_training"})
"""Checks that can fail so badly that no honest result is possible; `Finding.is_blocking` says whether one did."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    name: str
    """A name in `CHECKS`."""
    passed: bool
    message: str
    rows: tuple[dict[str, Any], ...] = ()
    """Examples or counts, at most `MAX_ROWS`; plain JSON values."""

    @property
    def is_blocking(self) -> bool:
        """Say whether nothing may be built on this data: fewer than two classes have training rows."""
        return self.name in BLOCKING and sum(row["train"] > 0 for row in self.rows) < 2

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain JSON values."""
        return asdict(self) | {"is_blocking": self.is_blocking, "rows": list(self.rows)}


def first_rows(rows: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Return as many rows as a finding shows."""
    return tuple(row for row, _ in zip(rows, range(MAX_ROWS), strict=False))


def shown(text: Text) -> str:
    """Return the beginning of a text, or of a pair."""
    whole = " | ".join(text) if isinstance(text, tuple) else text
    return whole if len(whole) <= MAX_CHARACTERS else f"{whole[: MAX_CHARACTERS - 1]}…"


def counted(n: int, what: str) -> str:
    """Return ``n`` with its noun, such as ``1 text`` or ``2,000 texts``."""
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{n:,} {what if n == 1 else plural}"
