"""Which outcomes each comparison of a study stood on, so that one month can be laid beside another."""

from __future__ import annotations

import datetime as dt
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tunewise.artifacts import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tunewise.home import Home
    from tunewise.outcome import Row

FORMAT = 1

N_KEPT = 120
"""Of one day and one split the last comparison is kept, so these are at least as many days on which something changed."""


@dataclass(frozen=True)
class PastRow:
    """One outcome under the name and seed by which the study showed it."""

    variant: str
    seed: int
    key: str
    """Of the outcome; its folder holds every answer."""


@dataclass(frozen=True)
class PastComparison:
    """What one comparison read."""

    at: str
    """Time in UTC, ISO 8601."""
    split_sha256: str
    metric: str
    rows: tuple[PastRow, ...]


def note_comparison(study: str, rows: Sequence[Row], *, split_sha256: str, metric: str, home: Home) -> Path | None:
    """Note what a comparison stands on and return the file; none where the one before stood on the same.

    Of more than `N_KEPT` the eldest are dropped.

    Args:
        study: The study's name.
        rows: The outcomes compared; a comparison of none is not noted.
        split_sha256: Fingerprint of the split.
        metric: What decides the ranking.
        home: Where everything is kept.
    """
    now = dt.datetime.now(dt.UTC)
    listed = tuple(PastRow(row.variant, row.seed, row.outcome.key) for row in rows)
    past = read_history(study, home)
    same = past and (past[-1].split_sha256, past[-1].metric, past[-1].rows) == (split_sha256, metric, listed)
    if same or not listed:
        return None
    last = _files(study, home)[-1:]
    is_superseded = bool(past) and past[-1].split_sha256 == split_sha256 and past[-1].at[:10] == now.date().isoformat()
    file = _folder(study, home) / f"{now:%Y%m%dT%H%M%S.%fZ}.json"
    noted = PastComparison(now.isoformat(timespec="microseconds"), split_sha256, metric, listed)
    write_atomically(file, json.dumps({"format": FORMAT, **asdict(noted)}, indent=1))
    for old in [*_files(study, home)[:-N_KEPT], *(last if is_superseded else [])]:
        old.unlink(missing_ok=True)
    return file


def read_history(study: str, home: Home) -> tuple[PastComparison, ...]:
    """Return the comparisons that were noted, the eldest first; a file of another format is passed over."""
    found = []
    for file in _files(study, home):
        with suppress(OSError, ValueError, LookupError, TypeError):
            said = json.loads(file.read_text())
            if said.pop("format") == FORMAT:
                found.append(PastComparison(**said | {"rows": tuple(PastRow(**row) for row in said["rows"])}))
    return tuple(found)


def _folder(study: str, home: Home) -> Path:
    return home.study(study) / "history"


def _files(study: str, home: Home) -> list[Path]:
    """Return the files in the order of their times; folders beside them hold what each variant had before."""
    return sorted(file for file in _folder(study, home).glob("[0-9]*.json") if file.is_file())
