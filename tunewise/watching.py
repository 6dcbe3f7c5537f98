"""Whether a study's rows changed since they were last looked at, and what of them; cheap where nothing did.

Looked at in turn: sizes and times of the files, their bytes, their rows. Each look that finds nothing new ends it, so
that a file that was touched costs one pass over its bytes, and an unchanged one nothing. Of a data set on a hub the
commit is asked for and the hashes of its files; its rows are read by the run alone.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tunewise.artifacts import is_whole, sha256_of_file, sha256_of_json
from tunewise.sources import HubSource, PathSource, fetch_file, parse
from tunewise.sources.hub_data import data_revision, note_commit
from tunewise.steps import prepare_dataset, tables_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunewise.data.dataset import Dataset
    from tunewise.steps import Workplace

SECONDS_OF_QUIET = 5.0
"""A file that was written to so lately may still be written to."""

MAX_READ_BYTES = 64 << 20
"""Tables that are larger together are compared by their bytes: reading them would take a tick too long."""


@dataclass(frozen=True)
class Changes:
    """How many rows are other than before; all of them zero where only their order is."""

    added: int = 0
    removed: int = 0
    relabelled: int = 0
    rewritten: int = 0
    """Rows whose id stayed and whose text did not."""
    moved: int = 0
    """Rows whose table or column puts them on another side."""

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return any(self.counts().values())

    def counts(self) -> dict[str, int]:
        """Return the numbers by name."""
        return asdict(self)

    def __str__(self) -> str:
        """Return them in words, such as ``3 rows added, 1 relabelled``."""
        said = [f"{n} {name}" for name, n in self.counts().items() if n]
        return ", ".join([said[0].replace(" ", " rows " if said[0][:2] != "1 " else " row ", 1), *said[1:]]) if said else "no row"


@dataclass(frozen=True)
class Seen:
    """What a look found, as plain values that can be kept until the next."""

    states: tuple[str, ...]
    """Size and time of each file; the commit of a data set on a hub."""
    contents: tuple[str, ...]
    """Hashes of the bytes."""
    rows_sha256: str
    """Hash of the rows in any order; of the bytes where rows were not read."""
    dataset: str | None = None
    """The stored rows, if they were read."""
    n_changes: int = 0
    """How often rows were other than before."""

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None) -> Self | None:
        """Return what `to_json` wrote; none where nothing was written, or in another shape."""
        try:
            kept = json.loads(text or "")
            return cls(**kept | {name: tuple(kept[name]) for name in ("states", "contents")})
        except (ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True)
class Look:
    """What one look came to."""

    seen: Seen
    is_changed: bool
    message: str
    changes: Changes | None = None
    """None where rows were not compared."""


def look(place: Workplace, before: Seen | None, *, fitted: Path | None = None, now: float | None = None) -> Look:
    """Return whether the study's rows are other than ``before``, and what is seen now.

    Args:
        place: The study.
        before: What the last look saw. The first look changes nothing, unless ``fitted`` has other rows.
        fitted: The stored rows of the study's last run, if there was one.
        now: Seconds since 1970; the clock's unless given.

    Raises:
        SourceError: If a table cannot be had.
        DataError: If one cannot be read.
    """
    states = tuple(_states(place))
    if before is not None and states == before.states:
        return Look(before, is_changed=False, message="Nothing was written since the last look.")
    if before is not None and (file := _unquiet(place, time.time() if now is None else now)):
        return Look(before, is_changed=False, message=f"{file} was written to in the last {SECONDS_OF_QUIET:.0f} seconds.")
    contents = tuple(_contents(place))
    if before is not None and contents == before.contents:
        seen = Seen(states, contents, before.rows_sha256, before.dataset, before.n_changes)
        return Look(seen, is_changed=False, message="The bytes are the same; only their time is another.")
    found = _rows_looked_at(place, Seen(states, contents, sha256_of_json(contents)), before, fitted)
    if tuple(_states(place)) != states:
        kept = before or Seen((), (), "")
        return Look(kept, is_changed=False, message="The data was written to while it was read; the next look is waited for.")
    return found


def changes_between(old: Dataset, new: Dataset, *, has_ids: bool) -> Changes:
    """Return how the rows of ``new`` differ from those of ``old``.

    Args:
        old: The rows before.
        new: The rows now.
        has_ids: Whether the data names its rows; a row is known by its text otherwise.
    """
    before, after = _rows_by_key(old, has_ids=has_ids), _rows_by_key(new, has_ids=has_ids)
    total: Counter[str] = Counter()
    for key in before.keys() | after.keys():
        ours, theirs = before.get(key, Counter()), after.get(key, Counter())
        if ours != theirs:
            total.update(_changes_of_one(ours - theirs, theirs - ours))
    return Changes(**total)


def _changes_of_one(gone: Counter[Any], come: Counter[Any]) -> Iterator[str]:
    """Yield what became of the rows of one key: what went and what came are paired, the rest was added or removed."""
    left, right = list(gone.elements()), list(come.elements())
    for (text, label, _), (other_text, other_label, _) in zip(left, right, strict=False):
        yield "rewritten" if text != other_text else "relabelled" if label != other_label else "moved"
    for _ in left[len(right) :]:
        yield "removed"
    for _ in right[len(left) :]:
        yield "added"


def _rows_by_key(dataset: Dataset, *, has_ids: bool) -> dict[Any, Counter[Any]]:
    rows: dict[Any, Counter[Any]] = {}
    for i, text in enumerate(dataset.texts):
        label = json.dumps(dataset.classes[dataset.labels[i]])
        row = (text, label, dataset.sides[i] if dataset.sides else None)
        rows.setdefault(dataset.ids[i] if has_ids else text, Counter())[row] += 1
    return rows


def _rows_looked_at(place: Workplace, seen: Seen, before: Seen | None, fitted: Path | None) -> Look:
    """Return the look at the rows themselves, where they are few enough."""
    n_changes = before.n_changes if before else 0
    if _is_on_a_hub(place) or sum(file.stat().st_size for file in _files(place)) > MAX_READ_BYTES:
        if before is None:
            return Look(seen, is_changed=False, message="Watched from now on, by the bytes of its files.")
        grown = Seen(seen.states, seen.contents, seen.rows_sha256, None, n_changes + 1)
        return Look(grown, is_changed=True, message="The bytes changed; rows are compared by the run.")
    from tunewise.data.dataset import read_dataset

    stored = prepare_dataset(place).folder
    new = read_dataset(stored)
    rows = _rows_sha256(new)
    old = Path(before.dataset) if before and before.dataset else None if before else fitted
    changes = None
    if old is not None and is_whole(old):
        changes = changes_between(read_dataset(old), new, has_ids=place.study.data.id is not None)
    is_changed = bool(changes) if changes is not None else before is not None and rows != before.rows_sha256
    kept = Seen(seen.states, seen.contents, rows, str(stored), n_changes + is_changed)
    if not is_changed:
        said = f"{len(new)} rows are watched from now on." if before is None else "The bytes changed and the rows are the same."
        return Look(kept, is_changed=False, message=said, changes=changes)
    return Look(kept, is_changed=True, message=f"Of {len(new)} rows: {changes}." if changes else "Rows changed.", changes=changes)


def _rows_sha256(dataset: Dataset) -> str:
    """Return a hash that is the same whatever the order of the rows."""
    sides = dataset.sides or (None,) * len(dataset)
    facts = zip(dataset.texts, dataset.labels.tolist(), sides, strict=True)
    rows = sorted(json.dumps([text, dataset.classes[label], side]) for text, label, side in facts)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _files(place: Workplace) -> Iterator[Path]:
    """Yield the study's own files; what is pinned by its hash cannot change."""
    for source in tables_of(place.study):
        if isinstance(parse(source), PathSource):
            yield fetch_file(source, base=place.base, home=place.home)


def _is_on_a_hub(place: Workplace) -> bool:
    return any(isinstance(parse(source), HubSource) for source in tables_of(place.study))


def _unquiet(place: Workplace, now: float) -> Path | None:
    # A time to come tells of a clock that is wrong, and would never be past.
    return next((file for file in _files(place) if 0 <= now - file.stat().st_mtime < SECONDS_OF_QUIET), None)


def _states(place: Workplace) -> Iterator[str]:
    for file in _files(place):
        stat = file.stat()
        yield f"{file}:{stat.st_size}:{stat.st_mtime_ns}"
    for source in _hub_sources(place):
        yield data_revision(source).commit


def _contents(place: Workplace) -> Iterator[str]:
    for file in _files(place):
        yield sha256_of_file(file)
    for source in _hub_sources(place):
        found = data_revision(source)
        note_commit(source, found.commit, place.home.study(place.study.name))
        yield sha256_of_json(found.files)


def _hub_sources(place: Workplace) -> Iterator[HubSource]:
    for source in tables_of(place.study):
        if isinstance(found := parse(source), HubSource):
            yield found
