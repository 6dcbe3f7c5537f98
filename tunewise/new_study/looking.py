"""A table as it lies there: its columns with what can be counted of them, and the tables beside it."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from tunewise.data.classes import is_missing
from tunewise.data.encodings import Encoding, encoding_of, open_bytes
from tunewise.data.tables import SIDE_COLUMN, read_file, read_table, side_of
from tunewise.errors import DataError, SourceError
from tunewise.home import Home
from tunewise.sources import HubSource, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ENDINGS = ("csv", "tsv", "jsonl", "ndjson", "parquet")
SEPARATORS = (",", ";", "\t")
LONGEST_NAME = 80
"""A longer name is taken for a text: the table has no header."""
N_LINES = 1_000
"""JSON lines that are read for the names of their keys."""


@dataclass(frozen=True, eq=False)
class Column:
    """The cells of a column, in all tables."""

    name: str
    cells: tuple[Any, ...]

    @cached_property
    def present(self) -> tuple[Any, ...]:
        """Return the cells that hold something."""
        return tuple(cell for cell in self.cells if not is_missing(cell))

    @cached_property
    def distinct(self) -> frozenset[Any]:
        """Return the different values; empty where they are lists or the like."""
        try:
            return frozenset(self.present)
        except TypeError:
            return frozenset()

    @property
    def is_text(self) -> bool:
        """Say whether every cell is text."""
        return bool(self.present) and all(isinstance(cell, str) for cell in self.present)

    @cached_property
    def mean_characters(self) -> float:
        """Return the mean length of the texts; 0 for other kinds."""
        return sum(len(cell) for cell in self.present) / len(self.present) if self.is_text else 0.0

    @cached_property
    def numbers(self) -> tuple[float, ...] | None:
        """Return the cells as numbers, or none where one is no number."""
        try:
            return None if any(isinstance(cell, bool) for cell in self.present) else tuple(float(cell) for cell in self.present)
        except (TypeError, ValueError):
            return None

    @property
    def is_unique(self) -> bool:
        """Say whether every cell holds a value of its own."""
        return len(self.distinct) == len(self.cells)


@dataclass(frozen=True, eq=False)
class Looked:
    """What was found under the name that was given."""

    given: str
    source: Path | str
    """The table with the training rows; text for a hub's data set."""
    beside: dict[str, Path]
    """Tables of their own for ``development`` and ``test``."""
    columns: tuple[Column, ...]
    encoding: Encoding | None = None
    """None where the format knows no other."""
    hub_sides: frozenset[str] = field(default_factory=frozenset)
    """Sides that a hub's data set gives itself."""

    @property
    def n_rows(self) -> int:
        """Return the number of rows in all tables."""
        return len(self.columns[0].cells) if self.columns else 0

    def column(self, name: str) -> Column:
        """Return the column called ``name``.

        Raises:
            DataError: If there is none.
        """
        found = {column.name: column for column in self.columns}
        if name not in found:
            raise DataError(
                f"{self.given} has no column {name!r}; its columns are {', '.join(map(repr, found))}. Name one of them."
            )
        return found[name]


def look(given: str, base: Path, *, encoding: str | None = None, home: Home | None = None) -> Looked:
    """Return what is to be seen of a table, a folder with tables, or a hub's data set.

    Args:
        given: ``hub:ORG/NAME@REVISION``, or a path from ``base``.
        base: The folder that relative paths start from.
        encoding: Of text files; read from them unless given.
        home: Where a hub's rows are kept.

    Raises:
        SourceError: If there is nothing of that name.
        DataError: If it is no table that can be read.
    """
    origin = parse(given)
    if isinstance(origin, HubSource):
        return _look_at_hub(f"hub:{origin.repository}@{origin.revision}", origin, base, home or Home.default())
    path = (base / given.removeprefix("path:")).expanduser()
    if not path.exists():
        raise SourceError(f"There is no {path}. Give a table ({', '.join(ENDINGS)}), a folder that holds one, or hub:ORG/NAME.")
    main = _main_table(path) if path.is_dir() else path
    beside = dict(_tables_beside(main))
    found = None if _ending(main) == "parquet" else _encoding_of(main, encoding)
    names = _shared_names([main, *beside.values()], encoding)
    tables = [read_file(file, names, encoding) for file in (main, *beside.values())]
    columns = tuple(Column(name, tuple(cell for table in tables for cell in table[name].to_pylist())) for name in names)
    return Looked(given, main, beside, columns, replace(found, note="As you said.") if found and encoding else found)


def _encoding_of(file: Path, declared: str | None) -> Encoding:
    try:
        return encoding_of(file, declared)
    except DataError as error:
        raise DataError(f"{error} Before there is a study, say it with --encoding NAME.") from error


def _look_at_hub(source: str, origin: HubSource, base: Path, home: Home) -> Looked:
    from datasets import load_dataset

    try:
        found = cast("dict[str, Any]", load_dataset(origin.repository, revision=origin.revision))
    except Exception as error:
        raise DataError(
            f"{source} could not be read from the hub: {error} Check its name and revision, and that the hub can be reached."
        ) from error
    names = list(next(iter(found.values())).column_names)
    table = read_table(source, base=base, home=home, columns=names)
    columns = tuple(Column(name, tuple(table[name].to_pylist())) for name in names)
    sides = frozenset(table[SIDE_COLUMN].to_pylist()) if SIDE_COLUMN in table.column_names else frozenset()
    return Looked(source, source, {}, columns, hub_sides=sides)


def _main_table(folder: Path) -> Path:
    """Return the folder's table with training rows: the one called so, or the only one."""
    tables = sorted(path for path in folder.iterdir() if _ending(path) in ENDINGS and path.is_file())
    training = [path for path in tables if _side_in_name(path) == "train"]
    if len(training) == 1 or len(tables) == 1:
        return (training or tables)[0]
    names = ", ".join(path.name for path in training or tables) or "none"
    raise DataError(f"{folder} holds several tables or none that could be meant ({names}). Name the one with the training rows.")


def _tables_beside(main: Path) -> Iterator[tuple[str, Path]]:
    """Yield the side and path of tables that are called as ``main`` is, but for the side their name ends in."""
    if _side_in_name(main) != "train":
        return
    for path in sorted(main.parent.iterdir()):
        side = _side_in_name(path)
        if side in ("development", "test") and _without_side(path) == _without_side(main) and path.is_file():
            yield side, path


def _parts_of_name(path: Path) -> tuple[str, str, str]:
    """Return what stands before the last word of a name, that word, and the ending."""
    match = re.fullmatch(r"(.*?[._-])?([^._-]+)((?:\.[a-z]+)+)", path.name, flags=re.IGNORECASE)
    return (match[1] or "", match[2], match[3].lower()) if match else ("", path.stem, path.suffix.lower())


def _side_in_name(path: Path) -> str | None:
    return side_of(_parts_of_name(path)[1])


def _without_side(path: Path) -> tuple[str, str]:
    before, _, ending = _parts_of_name(path)
    return before, ending


def _ending(path: Path) -> str:
    return path.name.lower().removesuffix(".gz").rpartition(".")[2]


def _shared_names(files: Sequence[Path], encoding: str | None) -> list[str]:
    """Return the columns that all tables have, in the order of the first.

    Raises:
        DataError: If there are none, or the first line reads like a row.
    """
    each = [_names(file, encoding) for file in files]
    shared = [name for name in each[0] if all(name in names for names in each)]
    long = next((name for name in shared if len(name) > LONGEST_NAME), None)
    if long is not None or not shared:
        why = (
            f"the first line of {files[0].name} reads like a row ({str(long)[:60]}…)"
            if shared
            else "their first lines share no name"
        )
        raise DataError(
            f"{', '.join(file.name for file in files)}: {why}. A table begins with a line that names its columns, such as "
            "text,label. Add one, the same to each table."
        )
    return shared


def _names(file: Path, encoding: str | None) -> list[str]:
    """Return the names of a table's columns; those that stand twice are left out, since no study could name one."""
    kind = _ending(file)
    if kind == "parquet":
        import pyarrow.parquet as pq

        found = list(pq.read_schema(file).names)
    elif kind in ("jsonl", "ndjson"):
        found = _keys(_lines(file, encoding))
    else:
        found = _header(file, encoding)
    return [name for name in dict.fromkeys(found) if found.count(name) == 1 and name.strip()]


def _keys(lines: Iterator[str]) -> list[str]:
    names: dict[str, None] = {}
    for line in islice(lines, N_LINES):
        try:
            record = json.loads(line) if line.strip() else {}
        except ValueError:
            continue
        names |= dict.fromkeys(record if isinstance(record, dict) else ())
    return list(names)


def _header(file: Path, encoding: str | None) -> list[str]:
    separators = ("\t",) if _ending(file) == "tsv" else SEPARATORS
    headers = [next(csv.reader(_lines(file, encoding), delimiter=separator), []) for separator in separators]
    return max(headers, key=len)


def _lines(file: Path, encoding: str | None) -> Iterator[str]:
    with open_bytes(file) as data, io.TextIOWrapper(cast("Any", data), encoding_of(file, encoding).name, newline="") as lines:
        yield from lines
