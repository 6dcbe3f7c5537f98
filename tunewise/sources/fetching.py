"""Brings a source to this machine: whole or not at all, once for all processes, and never again."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tunewise.artifacts import is_whole, new_folder, sha256_of_file, sha256_of_json
from tunewise.contracts import no_progress
from tunewise.errors import SourceError
from tunewise.sources import package_index
from tunewise.sources.forms import ArchiveSource, HubSource, PathSource, parse
from tunewise.sources.unpacking import extract_file, extract_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunewise.contracts import Progress
    from tunewise.home import Home
    from tunewise.study import PackageFile


def fetch_file(source: str | PackageFile, *, base: Path, home: Home, progress: Progress = no_progress) -> Path:
    """Return a local file with the bytes of ``source``.

    Args:
        source: What the study says.
        base: The folder that relative paths start from.
        home: Where downloads are kept; a second call reads nothing but names and sizes.
        progress: Told how far downloading and unpacking have come, in bytes.

    Raises:
        SourceError: If the bytes cannot be had or are not the ones that were pinned.
    """
    place = parse(source)
    if isinstance(place, HubSource):
        raise SourceError(f"hub:{place.repository} is a repository, not a file. A table of a hub is read as `data.source` alone.")
    if isinstance(place, PathSource):
        return _local(place, base, is_folder=False)
    return _unpacked(place, home.downloads, home, progress, is_folder=False)


def fetch_folder(source: str | PackageFile, *, base: Path, home: Home, progress: Progress = no_progress) -> Path:
    """Return a local folder with the files of ``source``, such as a model.

    Args:
        source: What the study says.
        base: The folder that relative paths start from.
        home: Where downloads are kept; hub repositories are kept in the hub's own cache.
        progress: Told how far downloading and unpacking have come, in bytes.

    Raises:
        SourceError: If the files cannot be had or are not the ones that were pinned.
    """
    place = parse(source)
    if isinstance(place, PathSource):
        return _local(place, base, is_folder=True)
    if isinstance(place, HubSource):
        from tunewise.sources.hub import fetch_model

        with _disk_may_be_full(f"hub:{place.repository}"):
            return fetch_model(place, progress)
    return _unpacked(place, home.backbones, home, progress, is_folder=True)


def at_hand(source: str | PackageFile, *, base: Path, home: Home, is_folder: bool) -> bool:
    """Say whether ``source`` can be had without a download; a table of a hub never can, as far as is known here.

    Raises:
        SourceError: If a path leads nowhere.
    """
    place = parse(source)
    if isinstance(place, PathSource):
        return _local(place, base, is_folder=is_folder).exists()
    if isinstance(place, HubSource):
        from tunewise.sources.hub import has_model

        return is_folder and has_model(place)
    root = home.backbones if is_folder else home.downloads
    return is_whole(_target(place, root, is_folder=is_folder)) or is_whole(_archive_folder(place, home))


def _local(place: PathSource, base: Path, *, is_folder: bool) -> Path:
    what = "folder" if is_folder else "file"
    try:
        path = (base / Path(place.path).expanduser()).absolute()
        is_there, is_right = path.exists(), path.is_dir() if is_folder else path.is_file()
    except (OSError, RuntimeError) as error:
        # A folder that may not be looked into, a name longer than the file system's, a user whom nobody knows.
        raise SourceError(f"{place.path} cannot be looked at: {error}. Correct the path or its permissions.") from error
    if is_right:
        if not os.access(path, os.R_OK):
            raise SourceError(f"{path} may not be read by this user. Correct its permissions.")
        return path
    if is_there:
        raise SourceError(f"{path} is {'a file' if is_folder else 'a folder'}; a {what} is needed here.")
    is_listed = path.parent.is_dir() and os.access(path.parent, os.R_OK)
    names = [entry.name for entry in path.parent.iterdir()] if is_listed else []
    near = get_close_matches(path.name, names, n=3)
    raise SourceError(
        f"There is no {what} {path}. A relative path starts from the study file's folder, {base}."
        + (f" Nearest there: {', '.join(near)}." if near else "")
    )


def _unpacked(place: ArchiveSource, root: Path, home: Home, progress: Progress, *, is_folder: bool) -> Path:
    """Return the member inside a finished folder below ``root``, making that where it is missing."""
    name = PurePosixPath(place.member.rpartition("!")[2]).name or place.package
    target = _target(place, root, is_folder=is_folder)
    # One level down, so that no member can take the manifest's name.
    content = Path("content", name)
    if is_whole(target):
        return target / content
    with _disk_may_be_full(f"{place.package}=={place.version}"), _alone(target):
        if not is_whole(target):
            archive = _archive(place, home, progress)
            with new_folder(target, "unpacked") as staging:
                (staging / content if is_folder else staging / content.parent).mkdir(parents=True)
                extract = extract_folder if is_folder else extract_file
                extract(archive, place.member, staging / content, progress)
    return target / content


def _target(place: ArchiveSource, root: Path, *, is_folder: bool) -> Path:
    return root / f"{place.package}-{place.version}-{sha256_of_json([place.sha256, place.member, is_folder])[:12]}"


def _archive_folder(place: ArchiveSource, home: Home) -> Path:
    return home.downloads / f"{place.package}-{place.version}-{place.sha256[:12]}"


def _archive(place: ArchiveSource, home: Home, progress: Progress) -> Path:
    """Return the package archive, whose bytes have the pinned hash, downloading it where it is missing or damaged."""
    folder = _archive_folder(place, home)
    with _alone(folder):
        found = _intact(folder, place)
        if found is None:
            shutil.rmtree(folder, ignore_errors=True)
            with new_folder(folder, "archive") as staging:
                package_index.download(place, staging, progress)
            found = _intact(folder, place)
    if found is None:
        raise SourceError(f"{folder} was altered while it was written. Run again.")
    return found


def _intact(folder: Path, place: ArchiveSource) -> Path | None:
    if not is_whole(folder):
        return None
    files = [path for path in folder.iterdir() if path.name != "manifest.json"]
    return files[0] if len(files) == 1 and sha256_of_file(files[0]) == place.sha256 else None


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Let one process at a time make ``target``, and sweep away what a killed one left of it."""
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / f".{target.name}.lock"):
        for leftover in target.parent.glob(f".{target.name}.*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
        yield


@contextmanager
def _disk_may_be_full(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise SourceError(
            f"The disk was full while {what} was fetched; what had been written of it was removed. "
            "Free some space, or let TUNEWISE_HOME name a folder on another disk, and run again."
        ) from error
