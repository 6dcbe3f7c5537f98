"""Reading tables: CSV, TSV, JSON lines, Parquet, data sets of the hub, built-in corpora.

Cells of CSV and TSV are text and stay what they are: ``NA``, ``01``, ``None`` and the empty cell are
values like any other. JSON lines and Parquet keep text, integers and booleans apart.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from tunewise.contracts import Progress, no_progress
from tunewise.data.columns import array_of, positions, refuse_odd_kinds, without_lone_surrogates
from tunewise.data.corpora import CORPORA
from tunewise.data.encodings import Encoding, encoding_of
from tunewise.data.text_files import errors_in_words, read_csv, read_json_lines, read_tsv
from tunewise.errors import DataError
from tunewise.sources import HubSource, fetch_file, parse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tunewise.home import Home
    from tunewise.study import PackageFile

SIDE_COLUMN = "tunewise side"
"""Column that a data set of the hub gets where its own splits are sides."""

NOTE = "tunewise note"
"""Key of a table's metadata: what to tell the user of how it was read."""

_KINDS = {
    b"\x1f\x8b": (".gz", "gzipped, which only a name that ends in .gz says"),
    b"PK\x03\x04": ("no table", "a zip archive or a spreadsheet; unpack it, or save it as CSV"),
    b"\xd0\xcf\x11\xe0": ("no table", "an old spreadsheet; save it as CSV"),
    b"PAR1": (".parquet", "Parquet, which only a name that ends in .parquet says"),
    b"SQLite format 3": ("no table", "a database; export a table of it"),
}
"""First bytes of a file, how its name then ends, and what it is."""
_HEAD_BYTES = 16

log = logging.getLogger(__name__)

_SIDES = {
    "train": "train",
    "training": "train",
    "development": "development",
    "dev": "development",
    "validation": "development",
    "valid": "development",
    "val": "development",
    "test": "test",
}


def side_of(name: str) -> str | None:
    """Return the side that ``name`` means, such as ``development`` for ``val``, or none."""
    return _SIDES.get(name.strip().lower())


def read_table(
    source: str | PackageFile,
    *,
    base: Path,
    home: Home,
    columns: Sequence[str],
    encoding: str | None = None,
    progress: Progress = no_progress,
) -> pa.Table:
    """Return the ``columns`` of a table, and `SIDE_COLUMN` where the hub says which row is on which side.

    Args:
        source: `path:FILE`, `hub:ORG/NAME@REVISION`, `archive:NAME`, or a package file.
        base: Folder that relative paths start from.
        home: Where fetched files are kept.
        columns: Names of the columns that are needed.
        encoding: Of CSV, TSV and JSON lines; read from the file unless given. Where it was guessed, the table's metadata
            say so under `NOTE`.
        progress: Told of a download.

    Raises:
        SourceError: If the file cannot be had.
        DataError: If it is no table, is damaged, is empty, or lacks a column.
    """
    origin = parse(source)
    wanted = list(dict.fromkeys(columns))
    if isinstance(origin, HubSource):
        return _read_hub(origin, wanted)
    file = fetch_file(source, base=base, home=home, progress=progress)
    corpus = CORPORA.get(source.removeprefix("archive:")) if isinstance(source, str) and source.startswith("archive:") else None
    if corpus is None:
        return read_file(file, wanted, encoding)
    table = corpus(file)
    return table.select(positions(wanted, table.column_names, str(source)))


def read_file(file: Path, columns: Sequence[str], encoding: str | None = None) -> pa.Table:
    """Return the ``columns`` of a local file, whose ending says what it is.

    Where the encoding was guessed, the table's metadata say so under `NOTE`.

    Raises:
        DataError: If it is no table, is damaged, is empty, or lacks a column.
    """
    name = file.name.lower()
    reader = _READERS.get(name.removesuffix(".gz").rpartition(".")[2])
    if reader is None or name.endswith(".parquet.gz"):
        raise DataError(
            f"{file} was given as a table. Tables end in .csv, .tsv, .jsonl, .ndjson (each also with .gz) or .parquet. "
            "Convert it, or correct its name."
        )
    with errors_in_words(file, encoding or "utf-8"):
        _refuse_other_content(file)
        found = Encoding("utf-8") if reader is _read_parquet else encoding_of(file, encoding)
    with errors_in_words(file, found.name):
        table = reader(file, list(dict.fromkeys(columns)), found.name)
    if not table.num_rows:
        raise DataError(f"{file} has no rows. Give a table with a header and labelled texts.")
    if found.note:
        log.warning(found.note)
    return table.replace_schema_metadata({NOTE: found.note} if found.note else None)


def _refuse_other_content(file: Path) -> None:
    """Refuse a file whose first bytes are those of another kind than its name says.

    Raises:
        DataError: Naming the kind.
    """
    with file.open("rb") as data:
        head = data.read(_HEAD_BYTES)
    if not head:
        raise DataError(f"{file} is empty. Give a table with a header and labelled texts.")
    for start, (ending, what) in _KINDS.items():
        if head.startswith(start) and not file.name.lower().endswith(ending):
            raise DataError(f"{file} is {what}, whatever its name says. Tables are plain text, gzipped text or Parquet.")


def _read_parquet(file: Path, columns: list[str], encoding: str) -> pa.Table:  # noqa: ARG001 - signature of the readers
    table = pq.ParquetFile(file)
    positions(columns, table.schema_arrow.names, str(file))
    for name in columns:
        refuse_odd_kinds(table.schema_arrow.field(name).type, name, str(file))
    rows = table.read(columns=columns).select(columns)
    # Bytes that are no UTF-8 would otherwise come out as a UnicodeDecodeError, long after the file's name is known.
    rows.validate(full=True)
    return rows


_READERS = {
    "csv": read_csv,
    "tsv": read_tsv,
    "jsonl": read_json_lines,
    "ndjson": read_json_lines,
    "parquet": _read_parquet,
}


def _read_hub(source: HubSource, columns: list[str]) -> pa.Table:
    from datasets import load_dataset

    try:
        found = cast("dict[str, Any]", load_dataset(source.repository, revision=source.revision))
    except Exception as error:
        raise DataError(
            f"The data set {source.repository} at revision {source.revision} could not be read from the hub: {error} "
            "Check its name and revision, and that this machine may reach the hub."
        ) from error
    sides = {name: side for name in found if (side := side_of(name))}
    if len(set(sides.values())) < 2:
        tables = [_hub_rows(rows, columns, source.repository) for rows in found.values()]
        return pa.concat_tables(tables, promote_options="default")
    tables = [
        _hub_rows(found[name], columns, source.repository).append_column(SIDE_COLUMN, pa.array([side] * len(found[name])))
        for name, side in sides.items()
    ]
    return pa.concat_tables(tables, promote_options="default")


def _hub_rows(rows: Any, columns: list[str], where: str) -> pa.Table:
    positions(columns, rows.column_names, where)
    return pa.table({name: array_of(_hub_values(rows, name), name, where) for name in columns})


def _hub_values(rows: Any, column: str) -> list[Any]:
    """Return a column's values; the numbers of a class column as the names they stand for."""
    values = [without_lone_surrogates(value) for value in rows[column]]
    if names := getattr(rows.features[column], "names", None):
        # The hub writes -1 where a label is kept secret.
        values = [names[value] if value is not None and value >= 0 else None for value in values]
    return values
