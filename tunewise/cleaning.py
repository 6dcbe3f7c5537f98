"""Making room: what no study needs any more, by age and by size.

Needed is whatever a file of any study names: its latest outcomes and those before them, the folders its assets hand
to one another, results that still wait to be recorded. All else in the artefacts may be made again and goes when it
was not used for long enough. A folder is renamed away before it is deleted, so an interrupted cleaning leaves
nothing that could be taken for whole; what a living process works on is held by its claim and stays.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunewise.claims import SUFFIX, claimed
from tunewise.errors import BusyError
from tunewise.staging import is_deserted, is_staging, staging_beside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tunewise.home import Home

DAY_SECONDS = 86_400.0

YOUNGEST_SECONDS = 3_600.0
"""Whatever was asked, nothing used within the hour goes: a run may have found it and not yet noted that it needs it."""

SET_ASIDE = ".corrupt"

_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Limits:
    """What may stay."""

    older_than_seconds: float = 30 * DAY_SECONDS
    """What was used within this time stays."""
    keep_bytes: int | None = None
    """Where more than this is kept, younger ones go too, the longest unused first."""
    has_embeddings: bool = False
    """Whether the row cache is cleaned too; its rows would be computed anew."""
    has_downloads: bool = False
    """Whether archives and models are cleaned too; they would be downloaded anew."""


@dataclass(frozen=True)
class Removable:
    """A file or folder that nobody needs."""

    kind: str
    """In words, for a table."""
    path: Path
    n_bytes: int
    used_at: float
    """When it was used last, in seconds since 1970."""
    key: str | None = None
    """Whose claim has to be free."""
    is_garbage: bool = False
    """Whether it can never serve again, so that its age does not count."""


def find_removable(home: Home, limits: Limits, *, now: float | None = None) -> list[Removable]:
    """Return what goes by ``limits``, the longest unused first; nothing is changed.

    Args:
        home: Where everything is kept.
        limits: What may stay.
        now: Seconds since 1970; the present unless given.
    """
    now = time.time() if now is None else now
    found = sorted(_candidates(home, limits), key=lambda one: (not one.is_garbage, one.used_at))
    old = [one for one in found if one.is_garbage or now - one.used_at > max(limits.older_than_seconds, YOUNGEST_SECONDS)]
    if limits.keep_bytes is None:
        return old
    too_many = _kept_bytes(home) - sum(one.n_bytes for one in old) - limits.keep_bytes
    for one in found:
        if too_many <= 0:
            break
        if one not in old and now - one.used_at > YOUNGEST_SECONDS:
            old.append(one)
            too_many -= one.n_bytes
    return old


def remove(found: Iterable[Removable], home: Home) -> list[Removable]:
    """Remove what was found and return what went; what was used or claimed since stays."""
    removed = []
    for one in found:
        with suppress(BusyError), nullcontext() if one.key is None else claimed(one.key, home, waits=False):
            if (one.is_garbage or _used_at(one.path) <= one.used_at) and _remove(one.path):
                removed.append(one)
    return removed


def _candidates(home: Home, limits: Limits) -> Iterator[Removable]:
    yield from _left_behind(home)
    yield from _unneeded(home)
    yield from (_removable("interrupted fits", work, work.name) for work in _children(home.work) if _is_keyed(work))
    if limits.has_embeddings:
        rows = (file for file in _files_below(home.embeddings) if file.suffix == ".parquet")
        yield from (_removable("embeddings", file) for file in rows)
    if limits.has_downloads:
        places = [*_children(home.downloads), *_children(home.backbones)]
        yield from (_removable("downloads", path) for path in places if path.suffix != SUFFIX and not is_staging(path))


def _unneeded(home: Home) -> Iterator[Removable]:
    needed = keys_that_studies_name(home)
    for kind in _children(home.artifacts):
        stored = (folder for folder in _children(kind) if _is_keyed(folder) and folder.name not in needed)
        yield from (_removable(f"unneeded {kind.name}", folder, folder.name) for folder in stored)


def _is_keyed(path: Path) -> bool:
    """Say whether this is a folder named by what determines it; what else lies there is none of ours."""
    return _KEY.fullmatch(path.name) is not None and path.is_dir()


def _left_behind(home: Home) -> Iterator[Removable]:
    """Yield what dead writers left, wherever it is, and what was found damaged and set aside."""
    for folder, names, files in os.walk(home.root):
        here = home.root / folder
        if here in {home.dagster, home.mlflow}:
            names.clear()
            continue
        for name in (*names, *files):
            path = here / name
            if is_staging(path) and is_deserted(path):
                yield _removable("left by ended processes", path, is_garbage=True)
            elif path.name.endswith(SET_ASIDE):
                yield _removable("damaged and set aside", path, is_garbage=True)
        names[:] = [name for name in names if not is_staging(here / name)]


def keys_that_studies_name(home: Home) -> set[str]:
    """Return every key that a file of any study below ``home`` names: pointers, their history, references, what waits."""
    keys: set[str] = set()
    for file in (home.root / "studies").rglob("*.json"):
        try:
            keys.update(_KEY.findall(file.read_text(errors="replace")))
        except FileNotFoundError:
            continue  # a pointer that another process replaced is named anew
    return keys


def _removable(kind: str, path: Path, key: str | None = None, *, is_garbage: bool = False) -> Removable:
    return Removable(kind, path, sum(_sizes_below(path)), _used_at(path), key, is_garbage)


def _used_at(path: Path) -> float:
    """Return when something was written or reused last, which sets the time of its folder; 0 if it is gone."""
    times = [0.0]
    for one in (path, *_files_below(path)):
        with suppress(FileNotFoundError):
            times.append(one.lstat().st_mtime)
    return max(times)


def _remove(path: Path) -> bool:
    aside = path if is_staging(path) else staging_beside(path)
    try:
        if aside != path:
            path.rename(aside)
    except FileNotFoundError:
        return False
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.unlink(missing_ok=True)
    return True


def _kept_bytes(home: Home) -> int:
    """Return the bytes of artefacts, unfinished work and caches; Dagster's and MLflow's own are theirs to clean."""
    return sum(size for place in (home.artifacts, home.work, home.root / "cache") for size in _sizes_below(place))


def _sizes_below(path: Path) -> Iterator[int]:
    for file in _files_below(path) if path.is_dir() else [path]:
        try:
            yield file.lstat().st_size
        except FileNotFoundError:
            continue


def _files_below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (folder.joinpath(place, name) for name in names)


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
