"""Takes files out of archives by name: no link, no absolute path, no step outside the target is followed."""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING

from tunewise.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tunewise.contracts import Progress

NESTED = "!"
_CHUNK_BYTES = 1 << 20
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError)


@dataclass(frozen=True)
class _Entry:
    """One regular file of an archive."""

    name: str
    n_bytes: int
    open: Callable[[], IO[bytes]]


def extract_file(archive: Path, member: str, target: Path, progress: Progress) -> None:
    """Write the file ``member`` of ``archive`` to ``target``.

    Args:
        archive: A wheel, zip or tar archive.
        member: Its path inside; the archive's single top folder may be left out, and ``outer!inner``
            reaches into an archive inside it.
        target: The file to write; its folder exists.
        progress: Told how many bytes have been written.

    Raises:
        SourceError: If there is no such file, naming the nearest ones, or it is a link or unsafe.
    """
    with _innermost(archive, member, target.parent) as (entries, inner):
        name = _find(entries, inner, archive)
        _write(entries[name], target, lambda done: progress(f"unpacking {target.name}", done, entries[name].n_bytes))


def extract_folder(archive: Path, member: str, target: Path, progress: Progress) -> None:
    """Write every file below the folder ``member`` of ``archive`` into the existing folder ``target``.

    Raises:
        SourceError: If there is no such folder, or it holds a link or a name that leads outside.
    """
    with _innermost(archive, member, target) as (entries, inner):
        found = _find_below(entries, inner, archive)
        total = sum(entry.n_bytes for entry in found.values())
        done = 0
        for name, entry in found.items():
            start = done
            place = target.joinpath(*_safe_parts(name, archive))
            place.parent.mkdir(parents=True, exist_ok=True)
            _write(entry, place, lambda n, start=start: progress(f"unpacking {PurePosixPath(inner).name}", start + n, total))
            done += entry.n_bytes


@contextmanager
def _innermost(archive: Path, member: str, scratch_beside: Path) -> Iterator[tuple[dict[str, _Entry], str]]:
    """Yield the entries of the archive that holds the last part of ``member``, and that part."""
    outer, is_nested, inner = member.partition(NESTED)
    with _entries(archive) as entries:
        if not is_nested:
            yield entries, outer
            return
        with TemporaryDirectory(dir=scratch_beside, prefix=".nested-") as scratch:
            name = _find(entries, outer, archive)
            copy = Path(scratch) / PurePosixPath(name).name
            _write(entries[name], copy, lambda _: None)
            with _innermost(copy, inner, Path(scratch)) as found:
                yield found


@contextmanager
def _entries(archive: Path) -> Iterator[dict[str, _Entry]]:
    """Yield every file of an archive; damage is named as such whether it shows in the list or in a member."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                yield {info.filename: _zip_entry(file, info) for info in file.infolist() if not info.is_dir()}
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as file:
                yield {info.name.removeprefix("./"): _tar_entry(file, info) for info in file if not info.isdir()}
        else:
            raise SourceError(f"{archive.name} is neither a zip nor a tar archive, so no member can be taken out of it.")
    except _DAMAGE as error:
        raise SourceError(f"{archive.name} is damaged and cannot be read: {error}. Nothing of it was kept.") from error


def _zip_entry(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Entry:
    mode = info.external_attr >> 16
    is_plain = stat.S_IFMT(mode) in (0, stat.S_IFREG)
    return _Entry(info.filename, info.file_size, (lambda: file.open(info)) if is_plain else _refusal(info.filename))


def _tar_entry(file: tarfile.TarFile, info: tarfile.TarInfo) -> _Entry:
    def read() -> IO[bytes]:
        stream = file.extractfile(info)
        return stream if stream is not None else _refusal(info.name)()

    return _Entry(info.name, info.size, read if info.isreg() else _refusal(info.name))


def _refusal(name: str) -> Callable[[], IO[bytes]]:
    def refuse() -> IO[bytes]:
        raise SourceError(
            f"{name} is a link or a device, not a file with bytes of its own, and is not followed. Name another member."
        )

    return refuse


def _find(entries: dict[str, _Entry], member: str, archive: Path) -> str:
    for name in (member, f"{_top(entries)}{member}"):
        if name in entries:
            return name
    if any(_below(entries, member)):
        raise SourceError(f"{member} is a folder in {archive.name}; a file is needed here. {_nearest(entries, member)}")
    raise SourceError(f"{archive.name} holds no member {member!r}. {_nearest(entries, member)}")


def _find_below(entries: dict[str, _Entry], member: str, archive: Path) -> dict[str, _Entry]:
    found = dict(_below(entries, member))
    if not found:
        what = "is a file" if member in entries or f"{_top(entries)}{member}" in entries else "is not there"
        raise SourceError(f"A folder {member!r} is needed from {archive.name}; it {what}. {_nearest(entries, member)}")
    return found


def _below(entries: dict[str, _Entry], member: str) -> Iterator[tuple[str, _Entry]]:
    """Yield the entries below a folder with their names relative to it."""
    folder = f"{member.strip('/')}/" if member.strip("/.") else ""
    for prefix in dict.fromkeys((folder, f"{_top(entries)}{folder}")):
        below = [(name.removeprefix(prefix), entry) for name, entry in entries.items() if name.startswith(prefix)]
        if below:
            yield from below
            return


def _top(entries: dict[str, _Entry]) -> str:
    """Return the one folder that holds everything, as in source archives, or nothing."""
    tops = {name.partition("/")[0] for name in entries}
    return f"{tops.pop()}/" if len(tops) == 1 else ""


def _nearest(entries: dict[str, _Entry], member: str) -> str:
    names = list(entries)
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents if str(parent) != "."}
    tail = PurePosixPath(member).name
    same = [name for name in names if PurePosixPath(name).name == tail]
    near = same[:3] or get_close_matches(member, [*names, *sorted(folders)], n=3, cutoff=0.4) or sorted(names)[:3]
    return f"Nearest are: {', '.join(near)}."


def _safe_parts(name: str, archive: Path) -> tuple[str, ...]:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0] or "\0" in name:
        raise SourceError(f"{archive.name} holds {name!r}, which leads outside the folder it is unpacked to. It is not unpacked.")
    return parts


def _write(entry: _Entry, target: Path, report: Callable[[int], None]) -> None:
    """Copy one entry; an existing file means that the archive names it twice."""
    try:
        with entry.open() as stream, target.open("xb") as file:
            shutil.copyfileobj(_Reported(stream, report), file, _CHUNK_BYTES)
    except FileExistsError as error:
        raise SourceError(f"The archive names {entry.name} twice. It is not unpacked.") from error


@dataclass
class _Reported:
    """A stream that tells how much has been read."""

    stream: IO[bytes]
    report: Callable[[int], None]
    done: int = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        chunk = self.stream.read(size)
        self.done += len(chunk)
        self.report(self.done)
        return chunk
