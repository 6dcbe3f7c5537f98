"""Stored folders shared through an object store, or any place fsspec reaches: whole there, or not there.

A folder is sent under a name nobody else uses; ``manifest.json``, which names the files with their sizes, their hashes
and where they lie, is written last, in one request. Readers begin with the manifest, so what a killed writer left is
never seen, and of two writers at once either one's manifest leads to its own files. What is read is kept below the
home folder, where everything works as it does without a store; claims and leases stay there too.

``TUNEWISE_ARTIFACTS`` names the place, such as ``s3://bucket/folder``; credentials come as fsspec's own libraries take
them. While the place is away work goes on in the home folder, and what was not sent is sent when it is used next.
``TUNEWISE_EMBEDDINGS`` does the same for the row cache of features, which has no copy here and so has to be reachable.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tunewise.artifacts import MANIFEST, is_sound, new_folder, read_folder, sha256_of_file, write_atomically
from tunewise.errors import ArtifactError
from tunewise.masking import masked

if TYPE_CHECKING:
    from tunewise.home import Home

PLACE_ENV = "TUNEWISE_ARTIFACTS"
ROWS_ENV = "TUNEWISE_EMBEDDINGS"

BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss"}
"""Schemes of stores that know no folders."""

OWN_KINDS = {"fits"}
"""What names places of one home and so tells another nothing."""

SECONDS_OF_REST = 60.0

PATIENCE = {"config_kwargs": {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 2}}}
"""For S3, whose library would wait a minute for each of several attempts to reach a server that is not there."""

log = logging.getLogger(__name__)

_away_until: dict[str, float] = {}


@dataclass(frozen=True)
class ObjectStore:
    """Folders by name below an address."""

    address: str
    """Such as ``s3://bucket/folder``; anything fsspec opens."""

    def push(self, folder: Path, name: str) -> None:
        """Store ``folder``, whole or not at all; one that is there already stands.

        Args:
            folder: A folder whose manifest holds.
            name: By which it is found, such as ``outcomes/KEY``.

        Raises:
            ArtifactError: If the folder is not whole, or the store cannot be used.
        """
        read_folder(folder)
        manifest = json.loads((folder / MANIFEST).read_text())
        files, root = _open(self.address)
        place = f"{name}/{uuid.uuid4().hex}"
        try:
            if self._manifest(name) is not None:
                return
            for entry in manifest["files"]:
                _make_folder_of(f"{root}/{place}/{entry['name']}", files)
                files.put_file(str(folder / entry["name"]), f"{root}/{place}/{entry['name']}")
            # One object appears at once; on a disk a rename makes it so.
            _write_at_once(files, f"{root}/{name}/{MANIFEST}", json.dumps(manifest | {"place": place}, indent=1).encode())
        except _failures() as error:
            raise self._in_words(error) from None

    def pull(self, name: str, target: Path) -> bool:
        """Bring a folder to ``target`` and say whether it is there now; every byte is compared with the manifest.

        Raises:
            ArtifactError: If the store cannot be used, or its bytes are not those that were written.
        """
        files, root = _open(self.address)
        try:
            manifest = self._manifest(name)
            if manifest is None:
                return False
            _refuse_ways_out([manifest["place"], *(entry["name"] for entry in manifest["files"])])
            with new_folder(target, manifest["kind"]) as staging:
                for entry in manifest["files"]:
                    file = staging / entry["name"]
                    file.parent.mkdir(parents=True, exist_ok=True)
                    files.get_file(f"{root}/{manifest['place']}/{entry['name']}", str(file))
                    if sha256_of_file(file) != entry["sha256"]:
                        raise ArtifactError(
                            f"{masked(self.address)}/{name}/{entry['name']} is not what was stored. Delete {name} there; "
                            "it will be made and stored again."
                        )
        except _failures() as error:
            raise self._in_words(error) from None
        return True

    def _manifest(self, name: str) -> dict[str, Any] | None:
        files, root = _open(self.address)
        files.invalidate_cache()
        try:
            manifest = json.loads(files.cat_file(f"{root}/{name}/{MANIFEST}"))
            return manifest if {"place", "files", "kind"} <= manifest.keys() else None
        except (FileNotFoundError, ValueError, AttributeError):
            return None

    def _in_words(self, error: Exception) -> ArtifactError:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        return ArtifactError(
            f"{PLACE_ENV}={masked(self.address)} cannot be used: {reason}. Look at the address, its credentials and the network."
        )


def shared_store() -> ObjectStore | None:
    """Return the store that ``TUNEWISE_ARTIFACTS`` names, if it names one."""
    address = os.environ.get(PLACE_ENV, "").rstrip("/")
    return ObjectStore(address) if address else None


def is_at_hand(folder: Path, home: Home) -> bool:
    """Say whether a stored folder is whole below ``home``, brought there from the shared store where it has it.

    A folder that is found counts as used now; one that the store has not got yet is sent.
    """
    store = _store_of(folder)
    if not is_sound(folder):
        # A damaged one is set aside by whoever holds its claim, and found then.
        if store is None or folder.exists():
            return False
        try:
            if _rests(store) or not store.pull(_name(folder, home), folder):
                return False
        except ArtifactError as error:
            _let_rest(store)
            log.warning("%s Work goes on below %s.", error, home.root)
            return False
        _note_shared(folder, home, store)
    with suppress(FileNotFoundError):
        os.utime(folder)
    share(folder, home)
    return True


def share(folder: Path, home: Home) -> None:
    """Send a stored folder to the shared store, if there is one and it has not got it; while it is away nothing is lost."""
    store = _store_of(folder)
    if store is None or _shared_note(folder, home, store).exists() or _rests(store):
        return
    try:
        store.push(folder, _name(folder, home))
    except ArtifactError as error:
        _let_rest(store)
        log.warning("%s %s is kept here, and sent when it is used next.", error, folder.name)
    else:
        _note_shared(folder, home, store)


def rows_place(home: Home) -> Any:
    """Return where the row cache of features is: at the address that ``TUNEWISE_EMBEDDINGS`` names, or below ``home``."""
    return os.environ.get(ROWS_ENV, "").rstrip("/") or home.embeddings


def _store_of(folder: Path) -> ObjectStore | None:
    return None if folder.parent.name in OWN_KINDS else shared_store()


def _rests(store: ObjectStore) -> bool:
    return time.monotonic() < _away_until.get(store.address, 0.0)


def _let_rest(store: ObjectStore) -> None:
    """Leave a place alone for a while that was away: its libraries ask several times, and each folder would wait for them."""
    _away_until[store.address] = time.monotonic() + SECONDS_OF_REST


def _name(folder: Path, home: Home) -> str:
    return folder.relative_to(home.artifacts).as_posix()


def _shared_note(folder: Path, home: Home, store: ObjectStore) -> Path:
    place = hashlib.sha256(store.address.encode()).hexdigest()[:12]
    return home.root / "shared" / place / _name(folder, home)


def _note_shared(folder: Path, home: Home, store: ObjectStore) -> None:
    write_atomically(_shared_note(folder, home, store), "")


@cache
def _open(address: str) -> tuple[Any, str]:
    import fsspec

    try:
        files, root = fsspec.url_to_fs(address, **(PATIENCE if address.startswith("s3") else {}))
    except (ImportError, ValueError) as error:
        raise ArtifactError(
            f"{PLACE_ENV}={masked(address)} cannot be opened: {error}. Install what it takes, such as `pip install s3fs`."
        ) from None
    return files, str(root).rstrip("/")


def _refuse_ways_out(names: list[str]) -> None:
    """Refuse a manifest that leads out of its folder; others may write to a store that is shared.

    Raises:
        ArtifactError: If a name is absolute or goes upwards.
    """
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
            raise ArtifactError(f"A stored folder's {MANIFEST} names {name!r}, which leads out of it. Nothing was read.")


def _make_folder_of(path: str, files: Any) -> None:
    """Make the folder of a file, except in a bucket: it has none, and one that is misspelt is not to be made."""
    protocols = {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)
    if not protocols & BUCKETS:
        files.makedirs(path.rpartition("/")[0], exist_ok=True)


def _write_at_once(files: Any, path: str, data: bytes) -> None:
    from fsspec.implementations.local import LocalFileSystem

    if isinstance(files, LocalFileSystem):
        write_atomically(Path(path), data)
    else:
        files.pipe_file(path, data)


def _failures() -> tuple[type[Exception], ...]:
    """Return what object stores raise when they are away or say no; their libraries are imported only where they are used."""
    import sys

    failures: list[type[Exception]] = [OSError]
    if (botocore := sys.modules.get("botocore.exceptions")) is not None:
        failures += [botocore.BotoCoreError, botocore.ClientError]
    return tuple(failures)
