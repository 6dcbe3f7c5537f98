"""Clearing away what dead processes left: staging names, work folders nobody needs, claims nobody holds.

What a living process writes, or may go on from, is left alone.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tunewise.artifacts import MANIFEST, is_whole
from tunewise.claims import SUFFIX, claim_file, claimed, work_folder
from tunewise.errors import BusyError
from tunewise.staging import is_deserted, is_staging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunewise.home import Home

WORK_SECONDS = 7 * 86_400
"""How long an interrupted fit that nobody takes up again keeps its checkpoints."""
FOREIGN_SECONDS = 86_400
"""How long a staging name of another machine, which cannot be asked, may stand without a change."""

log = logging.getLogger(__name__)


@cache
def clear_once(home: Home) -> None:
    """Remove what dead processes left below ``home``, at the first call in this process."""
    with suppress(OSError):
        remove_leftovers(home)


def remove_leftovers(home: Home) -> list[Path]:
    """Remove what dead processes left below ``home``, and return what was removed.

    A work folder goes when its work is finished or was not touched for a week; a claim when nobody holds it.
    """
    left = [path for path in _staging_below(home) if _is_left(path)]
    for path in left:
        _remove(path)
    removed = left + [folder for key in _keys_of_work(home) for folder in _without_need(key, home)]
    if removed:
        log.info("Removed %d leftovers of ended processes below %s.", len(removed), home.root)
    return removed


def _staging_below(home: Home) -> Iterator[Path]:
    foreign = {home.dagster, home.mlflow}
    for folder, names, files in os.walk(home.root):
        here = Path(folder)
        if MANIFEST in files:
            names.clear()
            continue
        found = [name for name in (*names, *files) if is_staging(here / name)]
        names[:] = [name for name in names if name not in found and here / name not in foreign]
        yield from (here / name for name in found)


def _is_left(path: Path) -> bool:
    deserted = is_deserted(path)
    return _seconds_untouched(path) > FOREIGN_SECONDS if deserted is None else deserted


def _keys_of_work(home: Home) -> list[str]:
    return sorted({path.name.removesuffix(SUFFIX) for path in _children(home.work) if not is_staging(path)})


def _without_need(key: str, home: Home) -> Iterator[Path]:
    """Remove, and yield, the work folder of ``key`` where it is needed no more; and its claim with it."""
    folder = work_folder(key, home)
    with suppress(BusyError), claimed(key, home, waits=False):
        is_done = any(is_whole(kind / key) for kind in _children(home.artifacts))
        if folder.exists() and (is_done or _seconds_untouched(folder) > WORK_SECONDS):
            _remove(folder)
            yield folder
        if not folder.exists():
            # Who has opened the file and does not hold it yet sees that it is gone, and opens it anew.
            claim_file(key, home).unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _seconds_untouched(path: Path) -> float:
    times = [path.stat().st_mtime, *(one.stat().st_mtime for one in path.rglob("*"))] if path.exists() else [time.time()]
    return time.time() - max(times)
