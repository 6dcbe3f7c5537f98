"""MLflow behind a small interface: one run per study and split, one child per outcome.

MLflow is imported on use. What was sent once is noted below the home folder, so that a study of which
everything is reused asks MLflow nothing at all. A note counts while its run is in the store: a SQLite file is
looked into, other stores are taken at their word.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sqlite3
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

import dagster as dg
from filelock import FileLock

from resources.run_record import curve_of, dataset_of, figures_of, params_of, tags_of
from tunewise.artifacts import sha256_of_file, write_atomically
from tunewise.errors import StudyError, TunewiseError
from tunewise.home import Home
from tunewise.privacy import silence_reports

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlflow import MlflowClient

    from tunewise.outcome import Row
    from tunewise.study import Study

PAGES_URL_ENV = "TUNEWISE_MLFLOW_URL"
PAGES_URL = "http://127.0.0.1:5000"
"""Where `tunewise ui` shows the runs of a store that is no server itself."""

PARENT = "mlflow.parentRunId"

SQLITE = "sqlite:///"

MAX_BATCH = 100
"""Parameters that any tracking server takes in one request; of metrics it takes more."""


class TrackingError(TunewiseError):
    """Runs could not be recorded."""


class Tracker(Protocol):
    """Records what a study found."""

    def log_rows(self, study: Study, rows: Sequence[Row], origin: Mapping[str, str]) -> str | None:
        """Record each outcome once and return a link to the first, if links exist.

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


def store_uri(study: Study, home: Home) -> str:
    """Return the tracking URI of a study: its own, the one its variable holds, or SQLite below the home folder.

    Raises:
        StudyError: If the variable that the study names is not set.
    """
    if study.tracking.uri_env is not None:
        if not (uri := os.environ.get(study.tracking.uri_env)):
            raise StudyError(
                f"tracking.uri_env={study.tracking.uri_env!r} was given and that variable is empty, so no run could be recorded. "
                f"Set it, or remove the line to record in {home.mlflow}."
            )
        return uri
    return study.tracking.uri or default_uri(home)


def default_uri(home: Home) -> str:
    """Return the URI of the SQLite store below the home folder."""
    return f"sqlite:///{home.mlflow / 'mlflow.db'}"


class MlflowTracker(dg.ConfigurableResource):
    """Records in MLflow; safe for several processes that share a home folder."""

    root: str
    """The home folder."""

    def log_rows(self, study: Study, rows: Sequence[Row], origin: Mapping[str, str]) -> str | None:
        """Record each outcome as a child of the study's run, once.

        Raises:
            TrackingError: If the store cannot be used; what it took before is not sent again.
        """
        notes = {row: self._note(study, f"{row.variant}/{row.seed}.json") for row in rows}
        if new := [row for row in rows if not notes[row].holds(row.outcome.key)]:
            with self._recording(study, rows[0].outcome.split_sha256) as store:
                for row in new:
                    run_id = store.find(row) or store.add(row, origin)
                    notes[row].write(row.outcome.key, run_id, store.link(run_id))
        return notes[rows[0]].link() if rows else None

    def log_page(self, study: Study, split_sha256: str, folder: Path, figures: Mapping[str, float]) -> str | None:
        """Record the comparison's files with the study's run; files that did not change are not sent again.

        Raises:
            TrackingError: If the store cannot be used.
        """
        note = self._note(study, "comparison.json")
        files = sorted(path for path in folder.iterdir() if path.suffix in {".html", ".md", ".json"})
        key = hashlib.sha256("".join([split_sha256, *map(sha256_of_file, files)]).encode()).hexdigest()
        if not note.holds(key):
            with self._recording(study, split_sha256) as store:
                store.add_files(files, figures)
                note.write(key, store.parent_id, store.link(store.parent_id))
        return note.link()

    def _notes(self, study: Study) -> Path:
        """Return the folder of notes of what one store was sent; it goes where the store goes."""
        home = Home(Path(self.root))
        place = hashlib.sha256(store_uri(study, home).encode()).hexdigest()[:12]
        return home.mlflow / "sent" / place / _experiment_name(study) / study.name

    def _note(self, study: Study, name: str) -> _Note:
        return _Note(self._notes(study) / name, store_uri(study, Home(Path(self.root))))

    @contextmanager
    def _recording(self, study: Study, split_sha256: str) -> Iterator[_Store]:
        """Yield the store to one process at a time, so that no two look for a run, miss it and both record it."""
        home, notes = Home(Path(self.root)), self._notes(study)
        uri = store_uri(study, home)
        notes.mkdir(parents=True, exist_ok=True)
        with FileLock(notes / "recording.lock"), _in_words(uri):
            yield _open_store(uri, home, study, split_sha256)


@dataclass(frozen=True)
class _Note:
    """Remembers which outcome was recorded under a name, and where."""

    path: Path
    uri: str
    """The store that it tells of."""

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}

    def holds(self, key: str) -> bool:
        noted = self._read()
        return noted.get("key") == key and _may_hold(self.uri, noted.get("run_id", ""))

    def link(self) -> str | None:
        return self._read().get("link")

    def write(self, key: str, run_id: str, link: str) -> None:
        write_atomically(self.path, json.dumps({"key": key, "run_id": run_id, "link": link}))


@dataclass(frozen=True)
class _Store:
    """An experiment of a tracking store, with the study's run in it."""

    client: MlflowClient
    uri: str
    study: Study
    experiment_id: str
    parent_id: str

    def find(self, row: Row) -> str | None:
        """Return the finished run of a row, if it was recorded before."""
        tags = {PARENT: self.parent_id, "outcome_key": row.outcome.key, "variant": row.variant, "seed": str(row.seed)}
        wanted = " and ".join([*(f"tags.`{name}` = '{value}'" for name, value in tags.items()), "attributes.status = 'FINISHED'"])
        found = self.client.search_runs([self.experiment_id], wanted, max_results=1)
        return found[0].info.run_id if found else None

    def add(self, row: Row, origin: Mapping[str, str]) -> str:
        """Record a row, closing its run only when everything is in it."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

        tags = tags_of(self.study, row) | dict(origin) | {PARENT: self.parent_id}
        run_id = self.client.create_run(self.experiment_id, tags=tags, run_name=f"{row.variant} (seed {row.seed})").info.run_id
        points = [*((name, value, 0) for name, value in figures_of(row).items()), *curve_of(row)]
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value, step in points]
        params = [Param(name, value) for name, value in params_of(row).items()]
        for start in range(0, max(len(metrics), len(params)), MAX_BATCH):
            self.client.log_batch(run_id, metrics[start : start + MAX_BATCH], params[start : start + MAX_BATCH])
        dataset = Dataset(**dataset_of(self.study, row))
        self.client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
        for name in ("outcome.json", "predictions.parquet"):
            if (row.outcome.folder / name).is_file():
                self.client.log_artifact(run_id, str(row.outcome.folder / name))
        self.client.set_terminated(run_id)
        return run_id

    def add_files(self, files: Sequence[Path], figures: Mapping[str, float]) -> None:
        """Put files and figures into the study's run."""
        for file in files:
            self.client.log_artifact(self.parent_id, str(file))
        for name, value in figures.items():
            self.client.log_metric(self.parent_id, name, value)

    def link(self, run_id: str) -> str:
        """Return where a browser finds a run."""
        is_server = self.uri.startswith(("http://", "https://"))
        base = _without_secret(self.uri, self.uri) if is_server else os.environ.get(PAGES_URL_ENV, PAGES_URL)
        return f"{base.rstrip('/')}/#/experiments/{self.experiment_id}/runs/{run_id}"


def _open_store(uri: str, home: Home, study: Study, split_sha256: str) -> _Store:
    """Return the study's run in its experiment, making both where they are missing.

    One process at a time: two that meet a fresh database at once both try to create its tables.
    """
    silence_reports()
    # What MLflow does to its own tables is no news of a study.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient

    home.mlflow.mkdir(parents=True, exist_ok=True)
    with FileLock(home.mlflow / "first_touch.lock"):
        client = MlflowClient(tracking_uri=uri)
        place = None if uri.startswith(("http://", "https://")) else home.mlflow / "artifacts" / _experiment_name(study)
        experiment_id = _experiment(client, _experiment_name(study), place)
        return _Store(client, uri, study, experiment_id, _parent(client, experiment_id, study, split_sha256))


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


@contextmanager
def _in_words(uri: str) -> Iterator[None]:
    """Turn what MLflow, its database and the network raise into one error; an `OSError` is the network's or the disk's."""
    silence_reports()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = _without_secret((str(error).splitlines() or [type(error).__name__])[0], uri)
        raise TrackingError(
            f"The tracking store at {_without_secret(uri, uri)} cannot be used: {reason} The outcomes are kept; start the store "
            f"or change tracking.uri, and run again."
        ) from error


def _without_secret(text: str, uri: str) -> str:
    """Take the name and password of ``uri`` out of a text that may be shown or kept."""
    login, at, _ = urlsplit(uri).netloc.rpartition("@")
    return text.replace(login + at, "") if at else text


def _experiment_name(study: Study) -> str:
    return study.tracking.experiment or study.name


def _experiment(client: MlflowClient, name: str, artifacts: Path | None) -> str:
    """Return the experiment called ``name``; a server decides by itself where its artefacts go."""
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(name):
        return found.experiment_id
    try:
        return client.create_experiment(name, artifact_location=artifacts.as_uri() if artifacts else None)
    except MlflowException:
        # Another machine that shares the server was faster.
        if found := client.get_experiment_by_name(name):
            return found.experiment_id
        raise


def _parent(client: MlflowClient, experiment_id: str, study: Study, split_sha256: str) -> str:
    """Return the run of a study on one split; outcomes on other rows are not compared with these."""
    tags = {"study": study.name, "role": "study", "split_sha256": split_sha256}
    found = client.search_runs(
        [experiment_id], " and ".join(f"tags.{name} = '{value}'" for name, value in tags.items()), max_results=1
    )
    if found:
        return found[0].info.run_id
    run = client.create_run(experiment_id, tags=tags | {"mlflow.note.content": study.description}, run_name=study.name)
    client.set_terminated(run.info.run_id)
    return run.info.run_id
