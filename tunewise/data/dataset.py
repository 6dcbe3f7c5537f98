"""A data set: the labelled rows of a study's tables, each with an id, in the tables' order."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewise.contracts import PARTS, Part, Progress, no_progress
from tunewise.data.classes import NO_BAND, NO_LABEL, Classes, classes_of_labels, classes_of_ratings, is_missing
from tunewise.data.storage import fingerprint_of, read_facts, read_rows, write_rows
from tunewise.data.tables import NOTE, SIDE_COLUMN, read_table, side_of
from tunewise.errors import DataError
from tunewise.sources import licence_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tunewise.contracts import Label, Text
    from tunewise.home import Home
    from tunewise.study import Data, PackageFile

FACTS_FILE = "dataset.json"

_REASONS = {NO_LABEL: "no label", NO_BAND: "rating in no band"}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled texts in the order of their tables; an earlier row is the elder. Shapes: n_rows each."""

    ids: tuple[str, ...]
    texts: tuple[Text, ...]
    labels: np.ndarray
    """int64 indices into ``classes``."""
    classes: tuple[Label, ...]
    sides: tuple[str, ...] | None
    """The side of each row where the data gives sides; those it does not give are taken from ``train``."""
    licence: str
    fingerprint: str
    """sha256 over ids, texts, labels, sides and classes, in order: which of two duplicates is the elder decides their side."""
    n_left_out: dict[str, int]
    """Rows that are not here, by reason: ``no text``, ``no label``, ``rating in no band``."""
    notes: tuple[str, ...] = ()
    """What the user should know of how the tables were read, such as a guessed encoding."""

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class _Rows:
    """Cells as the tables hold them, column by column."""

    texts: list[Text | None] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    sides: list[str | None] = field(default_factory=list)
    ids: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, rows: Sequence[int]) -> _Rows:
        return _Rows(
            [self.texts[i] for i in rows],
            [self.values[i] for i in rows],
            [self.sides[i] for i in rows],
            [self.ids[i] for i in rows],
            self.notes,
        )


def build_dataset(data: Data, *, base: Path, home: Home, progress: Progress = no_progress) -> Dataset:
    """Read the tables of ``data``, leave out rows without text or class, and give every row an id.

    Args:
        data: What the study says of its data.
        base: Folder that relative paths start from.
        home: Where fetched files are kept.
        progress: Told of downloads and of tables read.

    Raises:
        SourceError: If a table cannot be had.
        DataError: If one cannot be read, or holds no classes that could be learned.
    """
    rows = _read_rows(data, base, home, progress)
    kept = [i for i, text in enumerate(rows.texts) if text is not None]
    n_left_out = Counter({"no text": len(rows.texts) - len(kept)})
    rows = rows.take(kept)
    found = classes_of_ratings(data.ratings, rows.values) if data.ratings else classes_of_labels(data.label_column, rows.values)
    n_left_out.update({reason: int((found.labels == code).sum()) for code, reason in _REASONS.items()})
    return _dataset(data, rows, found, {reason: n for reason, n in n_left_out.items() if n})


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Write ``dataset`` into the existing, empty ``folder``: Parquet and JSON."""
    write_rows(folder, Part(dataset.ids, dataset.texts, dataset.labels), dataset.sides)
    names = ("classes", "licence", "fingerprint", "n_left_out", "notes")
    facts = json.dumps({name: getattr(dataset, name) for name in names}, indent=1)
    (folder / FACTS_FILE).write_text(facts, encoding="utf-8")


def read_dataset(folder: Path) -> Dataset:
    """Return what `write_dataset` wrote.

    Raises:
        ArtifactError: If a file is missing or cannot be read.
    """
    rows, sides = read_rows(folder)
    facts = read_facts(folder / FACTS_FILE)
    return Dataset(
        ids=rows.ids,
        texts=rows.texts,
        labels=rows.labels,
        classes=tuple(facts["classes"]),
        sides=sides,
        licence=facts["licence"],
        fingerprint=facts["fingerprint"],
        n_left_out=facts["n_left_out"],
        notes=tuple(facts["notes"]),
    )


def _dataset(data: Data, rows: _Rows, found: Classes, n_left_out: dict[str, int]) -> Dataset:
    kept = np.flatnonzero(found.labels >= 0).tolist()
    rows, labels = rows.take(kept), found.labels[kept]
    texts = tuple(text for text in rows.texts if text is not None)
    ids = _given_ids(data.id, rows.ids) if data.id else _ids_of_texts(texts)
    sides = tuple(str(side) for side in rows.sides) if any(rows.sides) else None
    row_facts = zip(ids, texts, labels.tolist(), sides or [None] * len(ids), strict=True)
    return Dataset(
        ids=ids,
        texts=texts,
        labels=labels,
        classes=found.classes,
        sides=sides,
        licence=data.licence or licence_of(data.source),
        fingerprint=fingerprint_of(found.classes, row_facts),
        n_left_out=n_left_out,
        notes=tuple(dict.fromkeys(rows.notes)),
    )


def _read_rows(data: Data, base: Path, home: Home, progress: Progress) -> _Rows:
    rows = _Rows()
    tables = list(_tables(data))
    for done, (source, side) in enumerate(tables):
        progress("reading tables", done, len(tables))
        texts = (data.text,) if isinstance(data.text, str) else data.text
        optional = [name for name in (data.id, data.split.column) if name]
        columns = [*texts, data.label_column, *optional]
        table = read_table(source, base=base, home=home, columns=columns, encoding=data.encoding, progress=progress)
        rows.notes += [note.decode() for key, note in (table.schema.metadata or {}).items() if key.decode() == NOTE]
        cells = {name: table[name].to_pylist() for name in table.column_names}
        rows.texts += _texts(texts, [cells[name] for name in texts])
        rows.values += cells[data.label_column]
        rows.ids += cells[data.id] if data.id else [None] * table.num_rows
        rows.sides += _sides(data, cells, side, table.num_rows)
    progress("reading tables", len(tables), len(tables))
    return rows


def _tables(data: Data) -> Iterator[tuple[str | PackageFile, str | None]]:
    """Yield every table with the side that all its rows are on, if it has one."""
    own = [(source, side) for side in PARTS[1:] if not isinstance(source := getattr(data.split, side), float)]
    if own and data.split.column:
        raise DataError(
            f"Sides are given twice: by the column {data.split.column!r} and by a table of its own for {own[0][1]}. Remove one."
        )
    yield data.source, "train" if own else None
    yield from own


def _texts(names: tuple[str, ...], columns: list[list[Any]]) -> Iterator[Text | None]:
    """Yield the text or pair of each row; none where one is missing or blank."""
    for name, cells in zip(names, columns, strict=True):
        if odd := next((cell for cell in cells if not is_missing(cell) and not isinstance(cell, str)), None):
            raise DataError(f"Column {name!r} holds {type(odd).__name__}, such as {odd!r:.80}. Name a column of text.")
    for cells in zip(*columns, strict=True):
        is_whole = not any(is_missing(cell) for cell in cells)
        yield None if not is_whole else cells[0] if len(columns) == 1 else (cells[0], cells[1])


def _sides(data: Data, cells: dict[str, list[Any]], side: str | None, n_rows: int) -> list[str | None]:
    column = data.split.column
    if column is None:
        if side and SIDE_COLUMN in cells:
            raise DataError(
                f"Sides are given twice: by the splits of {data.source if side == 'train' else getattr(data.split, side)} and by "
                "tables of their own for development or test. Leave the tables out, or give files instead of the hub's data set."
            )
        return cells.get(SIDE_COLUMN, [side] * n_rows)
    sides = [side_of(str(cell)) for cell in cells[column]]
    if odd := sorted({str(cell) for cell, known in zip(cells[column], sides, strict=True) if known is None}):
        shown = ", ".join(map(repr, odd[:5]))
        raise DataError(
            f"Column {column!r} says which side a row is on and holds {shown}. It may hold train, development (or dev, "
            "validation, val) and test; correct it, or leave `column` out and give shares."
        )
    return sides


def _given_ids(column: str, cells: list[Any]) -> tuple[str, ...]:
    ids = tuple("" if is_missing(cell) else str(cell) for cell in cells)
    repeated = [name for name, n in Counter(ids).items() if n > 1 and name]
    if "" in ids or repeated:
        fault = f"{repeated[0]!r} {ids.count(repeated[0])} times" if repeated else f"nothing in {ids.count('')} rows"
        raise DataError(
            f"Column {column!r} was named as id and holds {fault}. An id stands once in all tables. Correct it, or leave `id` "
            "out: a row is then known by the hash of its text."
        )
    return ids


def _ids_of_texts(texts: tuple[Text, ...]) -> tuple[str, ...]:
    """Return the first 64 bits of each text's hash, counted where a text repeats."""
    seen: Counter[str] = Counter()
    ids = []
    for text in texts:
        joined = "\x00".join(text) if isinstance(text, tuple) else text
        name = hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        seen[name] += 1
        ids.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return tuple(ids)
