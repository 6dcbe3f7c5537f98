"""Claims on a piece of work, by its key: of several processes that want it one does it, and the others can tell.

A claim is a lock on a file, which the system frees when its holder dies.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tunewise.contracts import no_progress
from tunewise.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tunewise.contracts import Progress
    from tunewise.home import Home

SUFFIX = ".lock"


def work_folder(key: str, home: Home) -> Path:
    """Return where files of unfinished work are kept; its claim stands beside it."""
    return home.work / key


def claim_file(key: str, home: Home) -> Path:
    """Return the file whose lock is the claim."""
    return home.work / f"{key}{SUFFIX}"


@contextmanager
def claimed(key: str, home: Home, *, what: str = "", progress: Progress = no_progress, waits: bool = True) -> Iterator[None]:
    """Hold the work on ``key`` inside the block.

    Args:
        key: The hash of what determines the work.
        home: Where claims are kept.
        what: The work in a few words, for the progress of who waits.
        progress: Told when another process has to be waited for.
        waits: Whether to wait for another process that holds it.

    Raises:
        BusyError: If another process holds it and is not waited for.
    """
    from filelock import FileLock, Timeout

    home.work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(claim_file(key, home))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not waits:
            raise BusyError(f"Another process is at work on {what or key}; its result can be read when it is done.") from None
        stage = f"{what or key}: waiting for another process"
        progress(stage, 0, 1)
        lock.acquire()
        progress(stage, 1, 1)
    try:
        yield
    finally:
        lock.release()
