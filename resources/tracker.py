"""MLflow behind a small interface: one run per study and split, one child per outcome, each sent once.

A result is put into the study's folder first and sent from there, so a store that is away, slow or full costs
nobody a fit: what it did not take waits for the next variant, the end of the run, or `tunewise sync`. What was
taken is noted below the home folder, so that a study of which everything is reused asks MLflow nothing at all. A
note counts while its run is in the store: a SQLite file is looked into, other stores are taken at their word.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

import dagster as dg
from filelock import FileLock, Timeout

from resources.run_record import StudyCard
from resources.tracking_store import Patience, RefusedError, TrackingError, open_store, store_uri
from resources.waiting import PAGE, Waiting, drop, keep, waiting_of
from tunewise.artifacts import sha256_of_file, write_atomically
from tunewise.errors import ArtifactError, StudyError
from tunewise.home import Home
from tunewise.masking import masked
from tunewise.outcome import Row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from resources.tracking_store import Store
    from tunewise.study import Study

SQLITE = "sqlite:///"

SECONDS_PER_DELIVERY, SECONDS_AT_THE_END = 20.0, 60.0
"""What a variant, and the comparison at the end, give the store at most: a fit is not to wait for its record."""

SHORTEST_REST, LONGEST_REST = 10.0, 300.0
"""Seconds until a store that was away is asked again, doubled each time."""

STORABLE = {".html", ".md", ".json"}


class Tracker(Protocol):
    """Records what a study found."""

    def log_rows(self, study: Study, rows: Sequence[Row], origin: Mapping[str, str]) -> str | None:
        """Record each outcome once and return a link to the first, if it is recorded and links exist.

        Args:
            study: The study that asked for the outcomes.
            rows: Outcomes of one split.
            origin: Tags that lead back to whoever ran them.
        """

    def log_page(self, study: Study, split_sha256: str, folder: Path, figures: Mapping[str, float]) -> str | None:
        """Record the comparison's files and figures with the study's run and return its link."""


class NoTracker:
    """Records nothing."""

    def log_rows(self, study: Study, rows: Sequence[Row], origin: Mapping[str, str]) -> None:
        """Do nothing."""

    def log_page(self, study: Study, split_sha256: str, folder: Path, figures: Mapping[str, float]) -> None:
        """Do nothing."""


class MlflowTracker(dg.ConfigurableResource):
    """Records in MLflow; safe for several processes that share a home folder."""

    root: str
    """The home folder."""

    def log_rows(self, study: Study, rows: Sequence[Row], origin: Mapping[str, str]) -> str | None:
        """Record each outcome as a child of the study's run, once; what cannot be sent now waits.

        Returns:
            Where the first one's run is found, if the store has it.
        """
        card, home = StudyCard.of(study), Home(Path(self.root))
        waiting = [Waiting.row(card, row, origin) for row in rows]
        if not _all_noted(waiting, home):
            _send(waiting, home, seconds=SECONDS_PER_DELIVERY)
        return _link(waiting[0], home) if waiting else None

    def log_page(self, study: Study, split_sha256: str, folder: Path, figures: Mapping[str, float]) -> str | None:
        """Record the comparison's files with the study's run; what cannot be sent now waits, and what waited is tried again.

        Returns:
            Where the study's run is found, if the store has it.
        """
        card, home = StudyCard.of(study), Home(Path(self.root))
        hashes = map(sha256_of_file, _storable(folder))
        key = hashlib.sha256("".join([split_sha256, *hashes]).encode()).hexdigest()
        page = Waiting.page(card, split_sha256, folder, key=key, figures=figures)
        if not _all_noted([page], home) or waiting_of(home, card.name):
            _send([page], home, seconds=SECONDS_AT_THE_END, asks_at_once=True)
        return _link(page, home)


@dataclass(frozen=True)
class Delivery:
    """What came of sending a study's results."""

    study: str
    n_sent: int
    n_waiting: int
    reason: str = ""
    """Why something still waits."""


def deliver(home: Home, study: str, card: StudyCard | None = None, *, seconds: float = float("inf")) -> Delivery:
    """Send all that waits of ``study``, each once, and say what came of it.

    Args:
        home: Where everything is kept.
        study: The study's name.
        card: What its file says now; what it said when the results were kept counts unless given.
        seconds: How long that may take at most.
    """
    waiting = [one if card is None else replace(one, card=card) for one in waiting_of(home, study)]
    if not waiting:
        return Delivery(study, 0, 0)
    reason = ""
    try:
        book = _Book.of(waiting[0].card, home)
        # A second sender finds everything noted; one that is stuck is not waited for any longer than by itself.
        with FileLock(book.folder / "recording.lock", timeout=min(seconds, SECONDS_AT_THE_END)):
            reason = _send_each(waiting, book, home, Patience(seconds))
    except Timeout:
        reason = "Another process is recording."
    except (StudyError, TrackingError, OSError) as error:
        reason = masked(str(error))
    n_waiting = len(waiting_of(home, study))
    return Delivery(study, len(waiting) - n_waiting, n_waiting, reason)


def _send(fresh: Sequence[Waiting], home: Home, *, seconds: float, asks_at_once: bool = False) -> None:
    """Keep ``fresh`` and send it with all else that waits, unless the store was away a moment ago."""
    card = fresh[0].card
    rest = _Rest.of(home, card.name)
    try:
        for one in fresh:
            keep(one, home)
        if rest.is_over() or asks_at_once:
            done = deliver(home, card.name, card, seconds=seconds)
            if done.n_waiting:
                rest.begin(done.reason)
                dg.get_dagster_logger().warning(in_plain_words(home, card.name))
            else:
                rest.end()
    except OSError as error:
        # The outcomes themselves are stored; the next run finds them without a note and sends them.
        dg.get_dagster_logger().warning(f"The results of {card.name} were not recorded: {masked(str(error))}.")


def in_plain_words(home: Home, study: str) -> str:
    """Return what waits of a study, why, and what sends it; empty where nothing waits."""
    if not (n_waiting := len(waiting_of(home, study))):
        return ""
    what = "1 result waits" if n_waiting == 1 else f"{n_waiting} results wait"
    reason = _Rest.of(home, study).reason()
    return f"{what} to be recorded in MLflow; nothing is lost. `tunewise sync {study}` sends what waits." + (
        f" Last time: {reason}" if reason else ""
    )


def _send_each(waiting: Sequence[Waiting], book: _Book, home: Home, patience: Patience) -> str:
    """Send what was not sent yet and return why something was left, of which the others know nothing.

    Raises:
        TrackingError: If the store cannot be used; what it took is noted.
    """
    reasons: list[str] = []
    stores: dict[str, Store] = {}
    for one in waiting:
        if not book.holds(one):
            try:
                if one.split_sha256 not in stores:
                    stores[one.split_sha256] = open_store(one.card, home, one.split_sha256, patience)
                store = stores[one.split_sha256]
                run_id = _record(store, one, home)
                book.write(one, run_id, store.link(run_id))
            except (RefusedError, ArtifactError) as error:
                reasons.append(str(error))
                continue
        drop(one, home)
    return reasons[0] if reasons else ""


def _record(store: Store, one: Waiting, home: Home) -> str:
    if one.kind == PAGE:
        store.record_page(_storable(Path(one.folder)), one.figures or {})
        return store.parent_id
    from tunewise.evaluation.outcomes import folder_of, read_outcome

    return store.record(Row(one.variant, one.seed, read_outcome(folder_of(one.key, home))), one)


def _storable(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in STORABLE) if folder.is_dir() else []


def _all_noted(waiting: Sequence[Waiting], home: Home) -> bool:
    """Say whether the store has all of it; a store that cannot even be named has nothing."""
    if not waiting:
        return True
    try:
        book = _Book.of(waiting[0].card, home)
    except StudyError:
        return False
    return all(book.holds(one) for one in waiting)


def _link(one: Waiting, home: Home) -> str | None:
    try:
        return _Book.of(one.card, home).link(one)
    except StudyError:
        return None


@dataclass(frozen=True)
class _Book:
    """Notes of what one store was sent of one study, and where it lies."""

    folder: Path
    uri: str

    @classmethod
    def of(cls, card: StudyCard, home: Home) -> _Book:
        """Return the notes of the store that ``card`` names now, below the home folder's own."""
        uri = store_uri(card, home)
        place = hashlib.sha256(uri.encode()).hexdigest()[:12]
        return cls(home.mlflow / "sent" / place / card.experiment / card.name, uri)

    def holds(self, one: Waiting) -> bool:
        noted = self._read(one)
        return noted.get("key") == one.key and _may_hold(self.uri, noted.get("run_id", ""))

    def link(self, one: Waiting) -> str | None:
        noted = self._read(one)
        return noted.get("link") if noted.get("key") == one.key else None

    def write(self, one: Waiting, run_id: str, link: str) -> None:
        write_atomically(self._path(one), json.dumps({"key": one.key, "run_id": run_id, "link": link}))

    def _path(self, one: Waiting) -> Path:
        return self.folder / ("comparison.json" if one.kind == PAGE else f"{one.variant}/{one.seed}.json")

    def _read(self, one: Waiting) -> dict[str, Any]:
        try:
            return json.loads(self._path(one).read_text())
        except (OSError, ValueError):
            return {}


@dataclass(frozen=True)
class _Rest:
    """For how long a study leaves a store alone that was away; a file, since each step may be a process of its own."""

    path: Path

    @classmethod
    def of(cls, home: Home, study: str) -> _Rest:
        return cls(home.study(study) / "store_away.json")

    def is_over(self) -> bool:
        return time.time() >= self._read().get("until", 0.0)

    def begin(self, reason: str) -> None:
        seconds = min(LONGEST_REST, 2 * self._read().get("seconds", SHORTEST_REST / 2))
        write_atomically(self.path, json.dumps({"until": time.time() + seconds, "seconds": seconds, "reason": reason}))

    def reason(self) -> str:
        return self._read().get("reason", "")

    def end(self) -> None:
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            return json.loads(self.path.read_text())
        return {}


def _may_hold(uri: str, run_id: str) -> bool:
    """Say whether a run may be in the store: false where a SQLite file is gone or lacks it, without MLflow's import."""
    if not uri.startswith(SQLITE):
        return True
    try:
        # The path goes in as a URI so that looking makes no file.
        place = Path(unquote(uri.removeprefix(SQLITE).partition("?")[0])).absolute().as_uri()
        with closing(sqlite3.connect(f"{place}?mode=ro", uri=True)) as database:
            return database.execute("SELECT 1 FROM runs WHERE run_uuid = ?", (run_id,)).fetchone() is not None
    except sqlite3.Error:
        # MLflow is asked then, which finds what is there.
        return False
