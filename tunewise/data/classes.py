"""From the values of a column to classes: labels as they are, or ratings by their bands."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewise.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunewise.contracts import Label
    from tunewise.study import Ratings

MAX_CLASSES = 1_000
MAX_DECIMAL_CLASSES = 20
"""Classes may be called ``0.5`` and ``1.0``; more than these are measurements."""

NO_LABEL, NO_BAND = -1, -2
"""Stand for a class index where a row has none."""


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of a column and which one each row has."""

    classes: tuple[Label, ...]
    labels: np.ndarray
    """int64 indices into ``classes``; `NO_LABEL` or `NO_BAND` where a row has none. Shape: (n_rows,)."""


def is_missing(value: Any) -> bool:
    """Say whether a cell holds nothing: null, NaN, or text without a visible character."""
    return value is None or (isinstance(value, float) and value != value) or (isinstance(value, str) and not value.strip())  # noqa: PLR0124 - NaN alone differs from itself


def classes_of_labels(column: str, values: Sequence[Any]) -> Classes:
    """Return the classes of a label column: text by code point, integers by size, False before True.

    Raises:
        DataError: If the column holds no classes but a regression target, several labels a row, several
            kinds of value, one class, or more than `MAX_CLASSES`.
    """
    present = [value for value in values if not is_missing(value)]
    _refuse_other_kinds(column, present)
    classes = tuple(sorted(set(present)))
    _refuse_counts(column, classes, len(present))
    index = {label: i for i, label in enumerate(classes)}
    labels = [NO_LABEL if is_missing(value) else index[value] for value in values]
    return Classes(classes, np.array(labels, np.int64))


def classes_of_ratings(ratings: Ratings, values: Sequence[Any]) -> Classes:
    """Return the bands as classes, in the order the study gives them.

    Raises:
        DataError: If the column holds other things than numbers, or a band holds no row.
    """
    numbers = [_number(ratings.column, value) for value in values]
    bands = list(ratings.bands.values())
    labels = np.array(
        [next((i for i, band in enumerate(bands) if band.holds(x)), NO_BAND) if isfinite(x) else NO_LABEL for x in numbers],
        np.int64,
    )
    if empty := [name for i, name in enumerate(ratings.bands) if not (labels == i).any()]:
        finite = [x for x in numbers if isfinite(x)]
        extent = f"go from {min(finite):g} to {max(finite):g}" if finite else "are all missing"
        raise DataError(
            f"No row of column {ratings.column!r} lies in the band of {', '.join(map(repr, empty))}; its {len(finite)} ratings "
            f"{extent}. Move the band, or leave it out."
        )
    return Classes(tuple(ratings.bands), labels)


def _refuse_other_kinds(column: str, present: list[Any]) -> None:
    examples = {type(value): value for value in present}
    if any(kind in examples for kind in (list, tuple, dict, set)):
        example = next(value for kind, value in examples.items() if kind in (list, tuple, dict, set))
        raise DataError(
            f"Column {column!r} holds several labels a row, such as {example!r:.80}: multi-label data. A row has one class here. "
            "Choose one label a row, or make one study per label."
        )
    if float in examples or Decimal in examples:
        example = examples.get(float, examples.get(Decimal))
        raise DataError(
            f"Column {column!r} holds decimal numbers, such as {example}: a regression target, and only classes can be learned "
            "here. Use `ratings` with a band per class or, where the numbers stand for classes, store them as integers."
        )
    if odd := [kind for kind in examples if kind not in (str, int, bool)]:
        raise DataError(f"Column {column!r} holds {odd[0].__name__}. A label is text, an integer or a boolean.")
    if len(examples) > 1:
        shown = " and ".join(sorted(f"{kind.__name__} (such as {value!r:.80})" for kind, value in examples.items()))
        raise DataError(f"Column {column!r} mixes {shown}, so it is not known which are one class. Write all in one kind.")


def _refuse_counts(column: str, classes: tuple[Label, ...], n_labels: int) -> None:
    if len(classes) < 2:
        held = f"one class, {classes[0]!r}, in all {n_labels} rows" if classes else "no label at all"
        raise DataError(f"Column {column!r} holds {held}. At least two classes are needed; name the column that holds them.")
    if len(classes) > MAX_DECIMAL_CLASSES and _are_decimals(classes):
        raise DataError(
            f"Column {column!r} holds {len(classes)} different decimal numbers, such as {classes[0]!r}: a regression target, and "
            "only classes can be learned here. Use `ratings` with a band per class."
        )
    if len(classes) > MAX_CLASSES:
        raise DataError(
            f"Column {column!r} holds {len(classes):,} classes in {n_labels:,} rows; at most {MAX_CLASSES:,} are allowed. If its "
            "values are measurements, use `ratings` with a band per class; if they are texts or ids, name another column."
        )


def _are_decimals(classes: tuple[Label, ...]) -> bool:
    """Say whether all labels are numbers written as text, some with a fraction."""
    try:
        numbers = [float(label) for label in classes if isinstance(label, str)]
    except ValueError:
        return False
    return len(numbers) == len(classes) and not all(number.is_integer() for number in numbers)


def _number(column: str, value: Any) -> float:
    if is_missing(value):
        return nan
    if isinstance(value, (int, float, str, Decimal)) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise DataError(
        f"Column {column!r} was named for ratings and holds {value!r:.80}, which is no number. Name a column of numbers, with a "
        "decimal point and without units."
    )
