"""What a study may write where bytes are meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

from tunewise.errors import SourceError
from tunewise.sources.embedded import EMBEDDED
from tunewise.study import PackageFile

FORMS = "path:FILE or a bare path, hub:ORG/NAME@REVISION, archive:NAME, or package, version, sha256 and member of a package file"


@dataclass(frozen=True)
class PathSource:
    """A file or folder on this machine; a relative path starts from the study file's folder."""

    path: str


@dataclass(frozen=True)
class HubSource:
    """A repository on a hub at a revision: a commit, a tag or a branch."""

    repository: str
    revision: str


@dataclass(frozen=True)
class ArchiveSource:
    """A file or folder inside a package archive, pinned by version and hash."""

    package: str
    version: str
    sha256: str
    member: str
    """``outer.tar.gz!inner/file`` reaches into an archive inside the archive."""


AnySource: TypeAlias = PathSource | HubSource | ArchiveSource


def parse(source: str | PackageFile) -> AnySource:
    """Return what ``source`` means.

    Raises:
        SourceError: If it has none of the allowed forms, or names an archive that is not embedded.
    """
    if isinstance(source, PackageFile):
        return ArchiveSource(source.package, source.version, source.sha256, source.member)
    scheme, colon, rest = source.partition(":")
    if not source.strip() or (colon and not rest.strip()):
        raise SourceError(f"The source {source!r} names nothing. Write {FORMS}.")
    if scheme == "path" and colon:
        return PathSource(rest)
    if scheme == "hub" and colon:
        return _parse_hub(source, rest)
    if scheme == "archive" and colon:
        return _parse_archive(rest)
    # One letter before a colon is a drive, more are a scheme.
    if colon and re.fullmatch(r"[a-z][a-z0-9+.-]+", scheme):
        raise SourceError(f"The source {source!r} starts with {scheme}:, which is not read here. Write {FORMS}.")
    return PathSource(source)


def _parse_hub(source: str, rest: str) -> HubSource:
    match = re.fullmatch(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", rest)
    if match is None:
        raise SourceError(f"The source {source!r} is no hub repository. Write hub:ORG/NAME@REVISION, such as hub:org/model@main.")
    return HubSource(match["repository"], match["revision"] or "main")


def _parse_archive(name: str) -> ArchiveSource:
    if name not in EMBEDDED:
        near = get_close_matches(name, EMBEDDED, n=1)
        raise SourceError(
            f"No archive is called {name!r}; there are {', '.join(EMBEDDED)}."
            + (
                f" Did you mean archive:{near[0]}?"
                if near
                else " For a package of your own, give package, version, sha256, member."
            )
        )
    found = EMBEDDED[name]
    return ArchiveSource(found.package, found.version, found.sha256, found.member)
