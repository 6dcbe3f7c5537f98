"""What waits to be recorded: one small file per result, below the study's folder, until a tracking store has taken it.

A file names an outcome and by which name and seed the study shows it; the content is the outcome's own folder.
It is written before anything is sent and removed after the store has been noted to hold it, so whatever is
killed in between is sent again, and found there.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from resources.run_record import StudyCard
from tunewise.artifacts import sha256_of_json, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tunewise.home import Home
    from tunewise.outcome import Row

FOLDER = "unsent"
ROW, PAGE = "row", "page"


@dataclass(frozen=True)
class Waiting:
    """One result that waits: an outcome under its name in a study, or the study's page."""

    kind: str
    """``row`` or ``page``."""
    card: StudyCard
    split_sha256: str
    at_ms: int
    """When it was put here; its points bear this time, so that sending twice changes nothing."""
    variant: str = ""
    seed: int = 0
    key: str = ""
    """Of the outcome; of a page the hash of its files."""
    origin: Mapping[str, str] | None = None
    """Tags that lead back to whoever ran it."""
    figures: Mapping[str, float] | None = None
    folder: str = ""
    """Of the page."""

    @classmethod
    def row(cls, card: StudyCard, row: Row, origin: Mapping[str, str]) -> Waiting:
        """Return what stands for an outcome under its name in a study."""
        outcome = row.outcome
        return cls(ROW, card, outcome.split_sha256, _now(), row.variant, row.seed, outcome.key, dict(origin))

    @classmethod
    def page(cls, card: StudyCard, split_sha256: str, folder: Path, *, key: str, figures: Mapping[str, float]) -> Waiting:
        """Return what stands for the study's page; a newer page takes the place of an older one."""
        return cls(PAGE, card, split_sha256, _now(), key=key, figures=dict(figures), folder=str(folder))

    @property
    def name(self) -> str:
        """Return the name of the file it waits in: one for what is sent once."""
        if self.kind == PAGE:
            return f"{PAGE}.json"
        return f"{self.variant}-{self.seed}-{sha256_of_json([self.variant, self.seed, self.key])[:16]}.json"

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)


def keep(waiting: Waiting, home: Home) -> None:
    """Put ``waiting`` into its study's folder; an outcome that waits already goes on waiting as it is."""
    path = _folder(home, waiting.card.name) / waiting.name
    if waiting.kind == PAGE or _read(path) is None:
        write_atomically(path, json.dumps(waiting.to_json()))


def drop(waiting: Waiting, home: Home) -> None:
    """Take out what was sent, unless something newer took its place meanwhile."""
    path = _folder(home, waiting.card.name) / waiting.name
    if (there := _read(path)) is not None and there.key == waiting.key:
        path.unlink(missing_ok=True)


def waiting_of(home: Home, study: str) -> list[Waiting]:
    """Return what waits of a study, the oldest first, its page last."""
    found = (_read(path) for path in _folder(home, study).glob("*.json"))
    return sorted((one for one in found if one is not None), key=lambda one: (one.kind == PAGE, one.at_ms, one.name))


def studies_that_wait(home: Home) -> list[str]:
    """Return the names of the studies of which something waits."""
    folders = sorted((home.root / "studies").glob(f"*/{FOLDER}"))
    return [folder.parent.name for folder in folders if next(_files(folder), None)]


def _folder(home: Home, study: str) -> Path:
    return home.study(study) / FOLDER


def _files(folder: Path) -> Iterator[Path]:
    yield from folder.glob("*.json")


def _read(path: Path) -> Waiting | None:
    """Return what waits in a file; files are whole or absent, so one that cannot be read is none of ours."""
    try:
        fields = json.loads(path.read_text())
        return Waiting(**fields | {"card": StudyCard(**fields["card"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _now() -> int:
    return int(time.time() * 1000)
