"""Reading CSV, TSV and JSON lines, plain or gzipped, in any encoding."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

import pyarrow as pa

from tunewise.data.columns import array_of, positions, without_lone_surrogates
from tunewise.data.encodings import line_of_bad_bytes
from tunewise.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAX_CELL_CHARACTERS = 2**31 - 1
_SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}


def read_csv(file: Path, columns: list[str], encoding: str) -> pa.Table:
    """Read CSV; its separator is the one of comma, semicolon, tab and bar under which the header names the columns."""
    headers = {separator: _header(file, encoding, separator) for separator in _SEPARATORS}
    best = max(headers, key=lambda separator: (len(set(columns) & set(headers[separator])), len(headers[separator])))
    return _parse(file, columns, encoding, {"delimiter": best})


def read_tsv(file: Path, columns: list[str], encoding: str) -> pa.Table:
    """Read TSV with quotes as in CSV or, where they do not come out even, as plain characters."""
    header = _header(file, encoding, "\t")
    if len(header) == 1 and (other := next((name for sign, name in _SEPARATORS.items() if sign in header[0]), None)):
        raise DataError(f"{file} is a table of one column, {header[0]!r:.80}. It seems to have {other} where a tab should be.")
    try:
        return _parse(file, columns, encoding, {"delimiter": "\t"})
    except DataError:
        return _parse(file, columns, encoding, {"delimiter": "\t", "quoting": csv.QUOTE_NONE})


def read_json_lines(file: Path, columns: list[str], encoding: str) -> pa.Table:
    """Read one JSON object per line; a key that a line lacks is a missing value."""
    values: dict[str, list[Any]] = {name: [] for name in columns}
    names: dict[str, None] = {}
    with _open_text(file, encoding) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            record = _object_in(line, f"{file}, line {number}")
            names |= dict.fromkeys(record)
            for name, column in values.items():
                column.append(without_lone_surrogates(record.get(name)))
    if names:
        positions(columns, list(names), str(file))
    return pa.table({name: array_of(column, name, str(file)) for name, column in values.items()})


@contextmanager
def errors_in_words(file: Path, encoding: str) -> Iterator[None]:
    """Turn what decoding, unpacking and the file system raise into a `DataError`.

    Raises:
        DataError: Naming the file, the line where that is known, and the remedy.
    """
    try:
        yield
    except UnicodeError as error:
        line = line_of_bad_bytes(file, encoding)
        raise DataError(
            f"{file}{f', line {line}' if line else ''}: bytes that are not {encoding}. If the file is in another encoding, name "
            "it in the study's data, for instance `encoding: latin-1`, `cp1252` or `utf-16`."
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{file} is cut short or is no gzip file: {error}. Fetch or write it again.") from error
    except pa.ArrowException as error:
        raise DataError(f"{file} cannot be read: {error}. Write it again, or correct its ending.") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}. Correct the path or its permissions.") from error


def _parse(file: Path, columns: list[str], encoding: str, dialect: dict[str, Any]) -> pa.Table:
    cells: list[list[str]] = [[] for _ in columns]
    finished = 0
    with _open_text(file, encoding) as lines, _cells_of_any_length():
        reader = csv.reader(lines, strict=True, **dialect)
        try:
            header = next(reader, [])
            finished = reader.line_num
            places = positions(columns, header, str(file))
            for row in reader:
                if row:
                    _check_width(row, header)
                    for column, place in zip(cells, places, strict=True):
                        column.append(row[place])
                finished = reader.line_num
        except csv.Error as error:
            raise DataError(
                f"{file}, in the row that starts in line {finished + 1}: {error}. A cell that holds a separator, a line "
                "break or a double quote stands between double quotes, and a double quote inside is written twice."
            ) from error
    return pa.table({name: pa.array(values, pa.large_string()) for name, values in zip(columns, cells, strict=True)})


def _check_width(row: list[str], header: list[str]) -> None:
    if len(row) != len(header):
        raise csv.Error(f"{len(row)} cells where the header has {len(header)}")


def _header(file: Path, encoding: str, separator: str) -> list[str]:
    with _open_text(file, encoding) as lines, _cells_of_any_length():
        return next(csv.reader(lines, delimiter=separator), [])


def _object_in(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line, object_pairs_hook=_without_repeats)
    except _RepeatedKey as error:
        raise DataError(f"{where}: the key {error.args[0]!r} stands twice in one object. Rename one.") from error
    except RecursionError as error:
        raise DataError(f"{where}: lists or objects within one another too deep to be a row. Correct the line.") from error
    except ValueError as error:
        if line.lstrip().startswith("["):
            raise DataError(_array_said(where)) from error
        raise DataError(f"{where}: not JSON ({error}). Every line holds one object.") from error
    if isinstance(record, list):
        raise DataError(_array_said(where))
    if not isinstance(record, dict):
        raise DataError(f'{where}: a {type(record).__name__}. Every line holds one object, such as {{"text": "..."}}.')
    return record


class _RepeatedKey(Exception):  # noqa: N818 - a signal inside this module; users see a DataError
    """An object names a key twice."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedKey(next(name for name in names if names.count(name) > 1))
    return made


def _array_said(where: str) -> str:
    return (
        f"{where}: a list. Every line holds one object. Where the whole file is one list, write each of its objects into a line "
        "of its own, for instance with `jq -c '.[]'`."
    )


def _open_text(file: Path, encoding: str) -> TextIO:
    if file.suffix.lower() == ".gz":
        return cast("TextIO", gzip.open(file, "rt", encoding=encoding, newline=""))
    return file.open(encoding=encoding, newline="")


@contextmanager
def _cells_of_any_length() -> Iterator[None]:
    """Lift the limit of 131,072 characters that the csv module sets for the whole process."""
    before = csv.field_size_limit(_MAX_CELL_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(before)
