"""The audit: what a table holds that makes a result dishonest, or less than it seems."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewise.contracts import PARTS, Part, Texts
from tunewise.data.copies import Sided, contradictions, copies
from tunewise.data.findings import CHECKS, MAX_ROWS, Finding, counted, first_rows, shown
from tunewise.data.forms import Forms
from tunewise.data.leaks import leaked_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tunewise.contracts import Split
    from tunewise.data.dataset import Dataset

MIN_ROWS = 5
MAX_IMBALANCE = 10
MAX_CUT_SHARE = 0.05
"""A few long texts are no reason for another backbone."""

_UNREADABLE = re.compile("[\ufffd\0]")
"""What stands where a character could not be read, and what no text holds."""


def audit(
    dataset: Dataset,
    split: Split,
    *,
    token_lengths: Callable[[Texts], np.ndarray] | None = None,
    max_tokens: int | None = None,
) -> tuple[Finding, ...]:
    """Return one finding for each of `CHECKS`, in their order.

    Args:
        dataset: The rows as they were read; says what was left out.
        split: The rows by side.
        token_lengths: Counts the tokens of each text as the backbone sees them; without it lengths are not checked.
        max_tokens: The backbone's limit.
    """
    sided = _sided(split)
    found = [
        _missing_values(dataset),
        _unreadable_characters(sided.rows, dataset.notes),
        *copies(sided),
        contradictions(sided),
        *_classes(split),
        leaked_label(sided.forms, sided.rows.labels, split.classes),
        _text_lengths(sided.rows, token_lengths, max_tokens),
    ]
    by_name = {finding.name: finding for finding in found}
    return tuple(by_name[name] for name in CHECKS)


def _sided(split: Split) -> Sided:
    parts = [part for _, part in split.parts()]
    rows = Part(
        tuple(name for part in parts for name in part.ids),
        tuple(text for part in parts for text in part.texts),
        np.concatenate([part.labels for part in parts]),
    )
    return Sided(rows, np.repeat(np.arange(len(parts)), [len(part) for part in parts]), split.classes, Forms.of(rows.texts))


def _missing_values(dataset: Dataset) -> Finding:
    counts = dataset.n_left_out
    n_missing = counts.get("no text", 0) + counts.get("no label", 0)
    parts = [f"{counted(n, 'row')} with {reason}" for reason, n in counts.items()]
    total = len(dataset) + sum(counts.values())
    message = f"Left out of {total:,}: {', '.join(parts)}." if parts else f"All {total:,} rows have a text and a label."
    return Finding("missing_values", not n_missing, message, first_rows({"reason": r, "n_rows": n} for r, n in counts.items()))


def _unreadable_characters(rows: Part, notes: tuple[str, ...]) -> Finding:
    found = [i for i, text in enumerate(rows.texts) if any(map(_UNREADABLE.search, _parts_of(text)))]
    parts = [
        f"{counted(len(found), 'text')} with U+FFFD, which stands where a character could not be read, or with U+0000. Was the "
        "table written in another encoding?"
        if found
        else "Every character could be read.",
        *notes,
    ]
    examples = first_rows({"id": rows.ids[i], "text": shown(rows.texts[i])} for i in found)
    return Finding("unreadable_characters", not found and not notes, " ".join(parts), examples)


def _parts_of(text: str | tuple[str, str]) -> tuple[str, ...]:
    return text if isinstance(text, tuple) else (text,)


def _classes(split: Split) -> Iterator[Finding]:
    counts = {name: np.bincount(part.labels, minlength=len(split.classes)) for name, part in split.parts()}
    train = counts["train"]
    table = [
        {"class": split.classes[i]} | {name: int(counts[name][i]) for name in PARTS} for i in np.argsort(train, kind="stable")
    ]
    yield _classes_in_training(table)
    yield _verdict("classes_held_out", table, lambda row: not (row["development"] and row["test"]), "without held-out rows")
    yield _verdict("small_classes", table, lambda row: row["train"] < MIN_ROWS, f"with fewer than {MIN_ROWS} training rows")
    ratio = float(train.max() / max(train.min(), 1)) if len(train) else 1.0
    message = (
        f"The largest class, {table[-1]['class']!r}, has {ratio:.1f} times the training rows of the smallest, "
        f"{table[0]['class']!r}. "
        + ("Look at macro F1 beside accuracy, or ask for class_weights: balanced." if ratio > MAX_IMBALANCE else "")
    )
    yield Finding("class_balance", ratio <= MAX_IMBALANCE, message.strip(), first_rows(table))


def _classes_in_training(table: list[dict[str, Any]]) -> Finding:
    absent = [row["class"] for row in table if not row["train"]]
    n = len(table) - len(absent)
    message = f"{counted(n, 'class')} of {len(table)} with training rows."
    if absent:
        more = f" and {len(absent) - 10} more" if len(absent) > 10 else ""
        message += (
            f" None for {', '.join(map(repr, absent[:10]))}{more}: no method can learn them, and their texts count as wrong. "
            "Give more rows of them, join them with another class, or leave them out."
        )
    # The two largest are always there, since whether this blocks is read from them.
    return Finding("classes_in_training", not absent, message, (*table[:-2][: MAX_ROWS - 2], *table[-2:]))


def _verdict(name: str, table: list[dict[str, Any]], is_odd: Callable[[dict[str, Any]], bool], what: str) -> Finding:
    odd = [row for row in table if is_odd(row)]
    named = ", ".join(repr(row["class"]) for row in odd[:10])
    message = f"{counted(len(odd), 'class')} {what}: {named}. Scores on them say little." if odd else f"No class {what}."
    return Finding(name, not odd, message, first_rows(odd))


def _text_lengths(rows: Part, token_lengths: Callable[[Texts], np.ndarray] | None, max_tokens: int | None) -> Finding:
    if token_lengths is None or max_tokens is None:
        return Finding("text_lengths", passed=True, message="Not checked: no backbone was given.")
    lengths = token_lengths(rows.texts)
    longest = [int(i) for i in np.argsort(-lengths, kind="stable") if lengths[i] > max_tokens]
    share = len(longest) / max(len(lengths), 1)
    message = (
        f"Texts have {np.median(lengths):.0f} tokens in the middle, {np.quantile(lengths, 0.95):.0f} at the 95th percentile, "
        f"{lengths.max()} at most; {counted(len(longest), 'text')} ({share:.1%}) longer than the backbone's {max_tokens}"
        + (" and cut there." if longest else ".")
    )
    table = ({"id": rows.ids[i], "n_tokens": int(lengths[i]), "text": shown(rows.texts[i])} for i in longest)
    return Finding("text_lengths", share <= MAX_CUT_SHARE, message, first_rows(table))
