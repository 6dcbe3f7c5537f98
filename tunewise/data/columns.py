"""Columns of a table: found by name, or refused with the nearest names; kept in one kind."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tunewise.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence


def positions(wanted: Sequence[str], names: Sequence[str], where: str) -> list[int]:
    """Return where the ``wanted`` columns stand among ``names``.

    Raises:
        DataError: If one is missing or stands there more than once.
    """
    for column in wanted:
        if column not in names:
            folded = {name.lower(): name for name in names}
            near = [repr(folded[name]) for name in get_close_matches(column.lower(), list(folded), n=3)]
            nearest = f" The nearest: {', '.join(near)}." if near else ""
            shown = ", ".join(repr(name[:80]) for name in names[:40]) or "none"
            raise DataError(f"{where} has no column {column!r}.{nearest} Its columns: {shown}. Name one of these in the study.")
        if (n := list(names).count(column)) > 1:
            raise DataError(f"{where} has {n} columns called {column!r}, so it is not known which is meant. Rename all but one.")
    return [list(names).index(column) for column in wanted]


def array_of(values: Sequence[Any], column: str, where: str) -> pa.Array:
    """Return ``values`` as an Arrow array; integers beside floats are one kind, integers beside booleans are not.

    Raises:
        DataError: If the values are of several kinds.
    """
    examples = {type(value): value for value in values if value is not None}
    if len(examples) > 1 and set(examples) != {int, float}:
        shown = " and ".join(sorted(f"{kind.__name__} (such as {value!r:.80})" for kind, value in examples.items()))
        raise DataError(f"Column {column!r} of {where} mixes {shown}. Write all its values in one kind.")
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(f"Column {column!r} of {where} cannot be read: {error}. Write all its values in one kind.") from error


def refuse_odd_kinds(kind: pa.DataType, column: str, where: str) -> None:
    """Refuse a column that holds neither text nor numbers nor booleans, nor lists or structures of these.

    Lists and structures are read, so that what uses the column can say what it makes of several values a row.

    Raises:
        DataError: Naming the kind and the kinds that are read.
    """
    if not _is_plain(kind):
        raise DataError(
            f"Column {column!r} of {where} holds {kind}. A text is text; a label is text, an integer or a boolean. Convert the "
            "column before it is stored, or name another one."
        )


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    if pa.types.is_nested(kind):
        return all(_is_plain(kind.field(i).type) for i in range(kind.num_fields))
    tests = ("is_string", "is_large_string", "is_string_view", "is_integer", "is_floating", "is_boolean", "is_decimal", "is_null")
    return any(getattr(pa.types, test)(kind) for test in tests)


def without_lone_surrogates(value: Any) -> Any:
    """Return text with U+FFFD for each half of a character; such a half has no bytes, so no tokenizer takes it."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value
