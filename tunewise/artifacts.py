"""Folders that are either whole or absent.

A folder is written under a staging name beside its place, closed by ``manifest.json`` (names, sizes,
hashes), and renamed. Readers see only folders whose manifest holds, so a killed writer leaves nothing
that is taken for a result. Staging names say who writes there, so that what a dead process left is known
as such; see `tunewise.leftovers`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewise.errors import ArtifactError
from tunewise.staging import staging_beside

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20
HASHED_BYTES = 32 << 20
"""Files up to this size are hashed whenever a folder is reused: at most 20 ms each. Larger ones are if they changed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArtifactRef:
    """Points at a stored folder; what assets hand to one another instead of the thing itself."""

    uri: str
    sha256: str
    """Hash of the manifest's list of files, so of every byte below it."""
    bytes: int
    kind: str

    @property
    def folder(self) -> Path:
        """Return the local folder."""
        return Path(self.uri)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)


def sha256_of_file(path: Path) -> str:
    """Return the sha256 of a file's bytes as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_of_json(value: object) -> str:
    """Return the sha256 of a JSON value written with sorted keys.

    Raises:
        TypeError: If a value or a key is not plain JSON; two different things must never look alike.
    """
    _refuse_other_keys(value)
    text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write a file so that readers see the old bytes or the new ones, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = staging_beside(path)
    try:
        with staging.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


@contextmanager
def new_folder(target: Path, kind: str) -> Iterator[Path]:
    """Yield a staging folder that becomes ``target`` when the block ends without an error.

    Where another process finished the same target first, its folder stands and ours is dropped:
    targets are named by what determines their content.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = staging_beside(target)
    staging.mkdir()
    try:
        yield staging
        _write_manifest(staging, kind)
        _publish(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def read_folder(folder: Path) -> ArtifactRef:
    """Return the reference of a stored folder after comparing its files' names and sizes with its manifest.

    Raises:
        ArtifactError: If the manifest is missing or a file is missing, cut or unlisted.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        listed = {entry["name"]: entry["bytes"] for entry in manifest["files"]}
        kind = manifest["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{folder} holds no readable {MANIFEST}, so it is not a finished artefact.") from error
    found = _sizes_below(folder)
    if found != listed:
        odd = min(set(found.items()) ^ set(listed.items()))[0]
        raise ArtifactError(
            f"{folder} does not hold what its {MANIFEST} lists: see {odd}. Delete the folder; it will be made again."
        )
    return ArtifactRef(str(folder), sha256_of_json(manifest["files"]), sum(listed.values()), kind)


def is_whole(folder: Path) -> bool:
    """Say whether ``folder`` is a finished artefact."""
    try:
        read_folder(folder)
    except ArtifactError:
        return False
    return True


def verify_hashes(folder: Path, *, hashed_bytes: int | None = None) -> None:
    """Compare the bytes of a stored folder with its manifest.

    Args:
        folder: A stored folder.
        hashed_bytes: Files above this size are hashed only if they were written after the manifest, which is
            written last; all files are hashed unless given.

    Raises:
        ArtifactError: If the folder is not whole, or a file's hash differs, naming it.
    """
    read_folder(folder)
    closed = (folder / MANIFEST).stat().st_mtime_ns
    for entry in json.loads((folder / MANIFEST).read_text())["files"]:
        file = folder / entry["name"]
        is_trusted = hashed_bytes is not None and entry["bytes"] > hashed_bytes and file.stat().st_mtime_ns <= closed
        if not is_trusted and sha256_of_file(file) != entry["sha256"]:
            raise ArtifactError(f"{file} was altered after it was written. Delete {folder}; it will be made again.")


def is_sound(folder: Path) -> bool:
    """Say whether ``folder`` is a finished artefact with the bytes that were written; decides whether it is reused.

    Files above 32 MiB are hashed only if they were written after the folder was closed.
    """
    return _damage_of(folder) is None


def set_aside_damaged(folder: Path) -> None:
    """Set ``folder`` aside if it is there and not sound, so that it can be made again; the caller holds its claim."""
    damage = _damage_of(folder)
    if damage is not None and folder.exists():
        set_aside(folder, damage)


def set_aside(folder: Path, reason: str) -> None:
    """Rename ``folder`` so that it is taken for nothing, and say so in the log; a later run clears it away."""
    aside = staging_beside(folder)
    with suppress(FileNotFoundError):  # another process may have done so first
        folder.rename(aside)
        log.warning("%s It was set aside as %s.", reason, aside)


def _damage_of(folder: Path) -> str | None:
    try:
        verify_hashes(folder, hashed_bytes=HASHED_BYTES)
    except (ArtifactError, OSError) as error:
        return str(error)
    return None


def _refuse_other_keys(value: object) -> None:
    if isinstance(value, dict):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"A JSON object has keys of text alone; {odd[0]!r} is none.")
        for item in value.values():
            _refuse_other_keys(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _refuse_other_keys(item)


def _sizes_below(folder: Path) -> dict[str, int]:
    try:
        return {name: (folder / name).stat().st_size for name in _files_below(folder)}
    except OSError as error:
        raise ArtifactError(f"{folder} changed while it was read: {error}. Run again.") from error


def _files_below(folder: Path) -> list[str]:
    paths = [path for path in folder.rglob("*") if path != folder / MANIFEST]
    if links := [path for path in paths if path.is_symlink()]:
        raise ArtifactError(f"{links[0]} is a link; an artefact holds its bytes itself.")
    return sorted(str(path.relative_to(folder)) for path in paths if path.is_file())


def _write_manifest(folder: Path, kind: str) -> None:
    files = [
        {"name": name, "bytes": (folder / name).stat().st_size, "sha256": sha256_of_file(folder / name)}
        for name in _files_below(folder)
    ]
    write_atomically(folder / MANIFEST, json.dumps({"kind": kind, "files": files}, indent=1))


def _publish(staging: Path, target: Path) -> None:
    if target.exists() and not is_whole(target):
        broken = staging_beside(target)
        with suppress(FileNotFoundError):  # another process may have cleared it away first
            target.rename(broken)
        shutil.rmtree(broken, ignore_errors=True)
    try:
        staging.rename(target)
    except OSError:
        if not is_whole(target):
            raise
