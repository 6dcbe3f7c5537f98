"""Names under which a process writes before its work is whole; they say which process, so that a dead one's are known."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import uuid
from functools import cache
from pathlib import Path

CLOCK_SECONDS = 3
"""By how much the start of a process may seem to move when the clock is set."""

_STAGING = re.compile(r"\..+\.(?P<place>[0-9a-f]{8})-(?P<process>\d+)-(?P<started>\d+)\.[0-9a-f]{32}")


def staging_beside(path: Path) -> Path:
    """Return a hidden name beside ``path`` that no other writer uses and that says which process does."""
    return path.with_name(f".{path.name}.{_writer(os.getpid())}.{uuid.uuid4().hex}")


def is_staging(path: Path) -> bool:
    """Say whether this is some writer's staging name."""
    return _STAGING.fullmatch(path.name) is not None


def is_deserted(path: Path) -> bool | None:
    """Say whether the process that writes under this staging name is gone; none where another machine would have to be asked."""
    found = _STAGING.fullmatch(path.name)
    if found is None or found["place"] != _place():
        return None
    import psutil

    try:
        process = psutil.Process(int(found["process"]))
        # Numbers of processes are used again; the second one started later.
        is_another = abs(process.create_time() - int(found["started"])) > CLOCK_SECONDS
        return is_another or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@cache
def _writer(process: int) -> str:
    import psutil

    return f"{_place()}-{process}-{int(psutil.Process(process).create_time())}"


@cache
def _place() -> str:
    """Return what tells this machine, and this container's processes, from others that may share the folder."""
    namespace = Path("/proc/self/ns/pid")
    processes = namespace.readlink() if namespace.is_symlink() else ""
    return hashlib.sha256(f"{platform.node()} {processes}".encode()).hexdigest()[:8]
