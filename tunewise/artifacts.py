"""Folders that are either whole or absent.

A folder is written under a staging name beside its place, closed by ``manifest.json`` (names, sizes,
hashes), and renamed. Readers see only folders whose manifest holds, so a killed writer leaves nothing
that is taken for a result.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewise.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20


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
    staging = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
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
    staging = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
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


def verify_hashes(folder: Path) -> None:
    """Compare every byte of a stored folder with its manifest.

    Raises:
        ArtifactError: If a file's hash differs, naming it.
    """
    read_folder(folder)
    for entry in json.loads((folder / MANIFEST).read_text())["files"]:
        if sha256_of_file(folder / entry["name"]) != entry["sha256"]:
            raise ArtifactError(
                f"{folder / entry['name']} was altered after it was written. Delete {folder}; it will be made again."
            )


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
        broken = target.with_name(f".{target.name}.broken-{uuid.uuid4().hex}")
        with suppress(FileNotFoundError):  # another process may have cleared it away first
            target.rename(broken)
        shutil.rmtree(broken, ignore_errors=True)
    try:
        staging.rename(target)
    except OSError:
        if not is_whole(target):
            raise
