"""What `tunewise clean` and `tunewise sync` do and say."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import click

from pipelines.console import err, out, table
from pipelines.study_folders import find_studies, locate, study_folders
from tunewise.cleaning import DAY_SECONDS, find_removable, remove
from tunewise.errors import StudyError, TunewiseError
from tunewise.study_file import read_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resources.run_record import StudyCard
    from tunewise.cleaning import Limits, Removable
    from tunewise.home import Home

_SECONDS = {"m": 60.0, "h": 3_600.0, "d": DAY_SECONDS, "w": 7 * DAY_SECONDS}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def seconds_of(text: str) -> float:
    """Return the seconds that a text such as ``30d`` names.

    Raises:
        click.BadParameter: If it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([mhdw])\s*", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no time. Write a number and m, h, d or w, such as 30d.")
    return float(found[1]) * _SECONDS[found[2]]


def bytes_of(text: str) -> int:
    """Return the bytes that a text such as ``10GB`` names.

    Raises:
        click.BadParameter: If it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B)\s*", text.upper())
    if found is None:
        raise click.BadParameter(f"{text!r} is no size. Write a number and B, KB, MB, GB or TB, such as 10GB.")
    return int(float(found[1]) * _BYTES[found[2]])


def clean_home(home: Home, limits: Limits, *, is_dry: bool) -> None:
    """Remove what nobody needs, or say what would be removed, as a table by kind."""
    found = find_removable(home, limits)
    gone = found if is_dry else remove(found, home)
    if not gone:
        out.print(f"Nothing to remove below {home.root}.", soft_wrap=True)
        return
    kinds: dict[str, list[Removable]] = {}
    for one in gone:
        kinds.setdefault(one.kind, []).append(one)
    out.print(table(("what", "how many", "size", "last used"), [_line(kind, some) for kind, some in sorted(kinds.items())]))
    total = _size(sum(one.n_bytes for one in gone))
    did = "would be removed; nothing was changed" if is_dry else "removed"
    kept = "" if len(gone) == len(found) else f" {len(found) - len(gone)} were in use and stay."
    out.print(f"{len(gone)} of {home.root}, {total}: {did}.{kept}", soft_wrap=True)


def send_waiting(home: Home, study: str | None) -> None:
    """Send what waits of one study, or of all, and say what came of each.

    A study's file says where to; where it is gone, what it said when the results were kept counts.

    Args:
        home: Where everything is kept.
        study: A study's name or the path of its file; all of which something waits unless given.

    Raises:
        StudyError: If no such study is known and nothing waits under that name.
        TunewiseError: If something still waits.
    """
    from resources.tracker import deliver
    from resources.waiting import studies_that_wait

    cards = _cards(home, study)
    names = list(cards) if study else studies_that_wait(home)
    done = [deliver(home, name, cards.get(name)) for name in names]
    for one in done:
        if one.n_sent:
            out.print(f"{one.study}: {one.n_sent} sent.")
        if one.n_waiting:
            err.print(f"{one.study}: {one.n_waiting} still wait. {one.reason}", style="red", markup=False, soft_wrap=True)
    if any(one.n_waiting for one in done):
        raise TunewiseError("Not all could be sent. What waits is kept; the same command tries again.")
    if not any(one.n_sent for one in done):
        out.print("Nothing waits.")


def _cards(home: Home, study: str | None) -> dict[str, StudyCard | None]:
    """Return what the files say of the studies that are meant, by name."""
    from resources.run_record import StudyCard
    from resources.waiting import waiting_of

    if study is None:
        return {found.study.name: StudyCard.of(found.study) for found in find_studies(study_folders())[0]}
    try:
        declared = read_study(locate(study))
    except StudyError:
        # A name of a folder in the home, and no path that leads elsewhere.
        if study in studies_below(home) and waiting_of(home, study):
            return {study: None}
        raise
    return {declared.name: StudyCard.of(declared)}


def studies_below(home: Home) -> list[str]:
    """Return the names of the studies of which the home keeps something."""
    folder = home.root / "studies"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _line(kind: str, some: Sequence[Removable]) -> tuple[str, str, str, str]:
    now = time.time()
    days = [max(0.0, now - one.used_at) / DAY_SECONDS for one in some]
    when = f"{min(days):.0f} to {max(days):.0f} days ago" if max(days) >= 1 else "today"
    return kind, f"{len(some):,}", _size(sum(one.n_bytes for one in some)), when


def _size(n_bytes: float) -> str:
    for name, unit in reversed(_BYTES.items()):
        if n_bytes >= unit > 1:
            return f"{n_bytes / unit:.1f} {name}"
    return f"{n_bytes:.0f} B"
