"""Labelled rows as a Parquet file, and their fingerprint."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tunewise.contracts import Part
from tunewise.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tunewise.contracts import Label, Text

ROWS_FILE = "rows.parquet"


def fingerprint_of(classes: tuple[Label, ...], rows: Iterable[tuple[str, Text, int, str | None]]) -> str:
    """Return the sha256 over ``classes`` and ``rows`` (id, text, class index, side) in their order.

    JSON keeps apart what looks alike: ``1`` and ``"1"``, True and 1, a pair and its texts joined.
    """
    digest = hashlib.sha256(json.dumps(classes).encode())
    for row in rows:
        digest.update(b"\n" + json.dumps(row).encode())
    return digest.hexdigest()


def write_rows(folder: Path, rows: Part, sides: Sequence[str] | None) -> None:
    """Write ``rows`` in their order; a pair takes two columns."""
    is_pair = bool(rows.texts) and isinstance(rows.texts[0], tuple)
    names = ("text_a", "text_b") if is_pair else ("text",)
    columns = zip(*rows.texts, strict=True) if is_pair else [rows.texts]
    table = {"id": pa.array(rows.ids, pa.large_string())}
    table |= {name: pa.array(column, pa.large_string()) for name, column in zip(names, columns, strict=True)}
    table["label"] = pa.array(rows.labels, pa.int64())
    if sides is not None:
        table["side"] = pa.array(sides, pa.string())
    pq.write_table(pa.table(table), folder / ROWS_FILE, compression="zstd")


def read_rows(folder: Path) -> tuple[Part, tuple[str, ...] | None]:
    """Return what `write_rows` wrote: the rows, and their sides where they have some.

    Raises:
        ArtifactError: If the file is missing or is no such table.
    """
    try:
        table = pq.ParquetFile(folder / ROWS_FILE).read()
        names = [name for name in ("text", "text_a", "text_b") if name in table.column_names]
        columns = [table[name].to_pylist() for name in names]
        texts = tuple(columns[0]) if len(columns) == 1 else tuple(zip(*columns, strict=True))
        part = Part(tuple(table["id"].to_pylist()), texts, table["label"].to_numpy().astype(np.int64))
        return part, tuple(table["side"].to_pylist()) if "side" in table.column_names else None
    except (OSError, pa.ArrowException, LookupError) as error:
        raise ArtifactError(f"{folder / ROWS_FILE} cannot be read: {error}. Delete {folder}; it will be made again.") from error


def read_facts(file: Path) -> dict:
    """Return the JSON object that stands beside the rows.

    Raises:
        ArtifactError: If the file is missing or is not JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{file} cannot be read: {error}. Delete {file.parent}; it will be made again.") from error
