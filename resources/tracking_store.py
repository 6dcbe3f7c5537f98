"""One study's runs in an MLflow store: found before they are made, made so that doing it twice changes nothing.

A run is found by its tags, which it has from its first moment, and counts as whole when it is finished. What was
cut off in between is filled up in place: parameters, points and files that are there already stay as they are.
MLflow is imported on use.
"""

from __future__ import annotations

import logging
import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from resources.run_record import curve_of, dataset_of, figures_of, params_of, tags_of
from tunewise.errors import StudyError, TunewiseError
from tunewise.masking import masked, without_login
from tunewise.privacy import silence_reports

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mlflow import MlflowClient

    from resources.run_record import StudyCard
    from resources.waiting import Waiting
    from tunewise.home import Home
    from tunewise.outcome import Row

PAGES_URL_ENV = "TUNEWISE_MLFLOW_URL"
PAGES_URL = "http://127.0.0.1:5000"
"""Where `tunewise ui` shows the runs of a store that is no server itself."""

PARENT = "mlflow.parentRunId"
FINISHED = "FINISHED"

MAX_BATCH = 100
"""Parameters that any tracking server takes in one request; of metrics it takes more."""

IMPATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
}
"""MLflow by itself waits two minutes for an answer and asks eight times, while a fit stands still; what is set already stays."""

REFUSALS = {400, 404, 409}
"""Statuses by which a server refuses one result and would refuse it again; all others tell of the server's own state."""


class TrackingError(TunewiseError):
    """Runs could not be recorded."""


class RefusedError(TrackingError):
    """The store is there and does not take this one result."""


@dataclass(frozen=True)
class Patience:
    """How long one delivery may take before the rest waits for the next."""

    seconds: float
    _start: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Go on, if there is time.

        Raises:
            TimeoutError: If there is none.
        """
        if time.monotonic() - self._start > self.seconds:
            raise TimeoutError(f"recording took longer than {self.seconds:g} s, which a run does not wait")


def store_uri(card: StudyCard, home: Home) -> str:
    """Return the tracking URI of a study: its own, the one its variable holds, or SQLite below the home folder.

    Raises:
        StudyError: If the variable that the study names is not set.
    """
    if card.uri_env is not None:
        if not (uri := os.environ.get(card.uri_env)):
            raise StudyError(
                f"tracking.uri_env={card.uri_env!r} was given and that variable is empty, so no run could be recorded. "
                f"Set it, or remove the line to record in {home.mlflow}."
            )
        return uri
    return card.uri or default_uri(home)


def default_uri(home: Home) -> str:
    """Return the URI of the SQLite store below the home folder."""
    return f"sqlite:///{home.mlflow / 'mlflow.db'}"


def with_driver(uri: str) -> str:
    """Return a database's URI with the PostgreSQL driver that both MLflow and Dagster work with, where it names none.

    SQLAlchemy alone would take psycopg 3, which refuses statements of Dagster's.
    """
    return re.sub(r"^postgres(?:ql)?://", "postgresql+psycopg2://", uri)


def is_server(uri: str) -> bool:
    """Say whether a URI is a server's, which keeps artefacts and shows pages by itself."""
    return uri.startswith(("http://", "https://"))


@dataclass(frozen=True)
class Store:
    """An experiment of a tracking store, with the study's run in it."""

    client: MlflowClient
    uri: str
    card: StudyCard
    experiment_id: str
    parent_id: str
    patience: Patience

    def record(self, row: Row, waiting: Waiting) -> str:
        """Return the run that holds ``row``, made or filled up where it is missing or was cut off.

        Raises:
            TrackingError: If the store cannot be used; `RefusedError` if it does not take this row.
        """
        with in_words(self.uri):
            run_id, is_whole = self._find(row) or (self._create(row, waiting), False)
            if not is_whole:
                self._fill(run_id, row, waiting.at_ms)
                self.client.set_terminated(run_id)
            return run_id

    def record_page(self, files: Sequence[Path], figures: Mapping[str, float]) -> None:
        """Put files and figures into the study's run.

        Raises:
            TrackingError: If the store cannot be used.
        """
        with in_words(self.uri):
            for file in files:
                self.patience.check()
                self.client.log_artifact(self.parent_id, str(file))
            for name, value in figures.items():
                self.client.log_metric(self.parent_id, name, value)

    def link(self, run_id: str) -> str:
        """Return where a browser finds a run."""
        base = without_login(self.uri) if is_server(self.uri) else os.environ.get(PAGES_URL_ENV, PAGES_URL)
        return f"{base.rstrip('/')}/#/experiments/{self.experiment_id}/runs/{run_id}"

    def _find(self, row: Row) -> tuple[str, bool] | None:
        """Return the run of a row and whether it is whole; of several a whole one."""
        self.patience.check()
        tags = {PARENT: self.parent_id, "outcome_key": row.outcome.key, "variant": row.variant, "seed": str(row.seed)}
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found = self.client.search_runs([self.experiment_id], wanted)
        states = sorted(((run.info.run_id, run.info.status == FINISHED) for run in found), key=lambda state: not state[1])
        return states[0] if states else None

    def _create(self, row: Row, waiting: Waiting) -> str:
        tags = tags_of(self.card, row) | dict(waiting.origin or {}) | {PARENT: self.parent_id}
        name = f"{row.variant} (seed {row.seed})"
        return self.client.create_run(self.experiment_id, start_time=waiting.at_ms, tags=tags, run_name=name).info.run_id

    def _fill(self, run_id: str, row: Row, at_ms: int) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

        points = [*((name, value, 0) for name, value in figures_of(row).items()), *curve_of(row)]
        # A store takes a point for the same only where its time is.
        metrics = [Metric(name, value, at_ms, step) for name, value, step in points]
        params = [Param(name, value) for name, value in params_of(row).items()]
        for start in range(0, max(len(metrics), len(params)), MAX_BATCH):
            self.patience.check()
            self.client.log_batch(run_id, metrics[start : start + MAX_BATCH], params[start : start + MAX_BATCH])
        self.patience.check()
        dataset = Dataset(**dataset_of(self.card, row))
        self.client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
        for name in ("outcome.json", "predictions.parquet"):
            self.patience.check()
            if (row.outcome.folder / name).is_file():
                self.client.log_artifact(run_id, str(row.outcome.folder / name))


def open_store(card: StudyCard, home: Home, split_sha256: str, patience: Patience) -> Store:
    """Return the study's run in its experiment, making both where they are missing.

    One process at a time: two that meet a fresh database at once both try to create its tables.

    Raises:
        StudyError: If the variable that is to name the store is not set.
        TrackingError: If the store cannot be used.
    """
    uri = store_uri(card, home)
    with in_words(uri):
        from mlflow import MlflowClient

        home.mlflow.mkdir(parents=True, exist_ok=True)
        with FileLock(home.mlflow / "first_touch.lock"):
            client = MlflowClient(tracking_uri=with_driver(uri))
            place = None if is_server(uri) else home.mlflow / "artifacts" / card.experiment
            experiment_id = _experiment(client, card.experiment, place)
            patience.check()
            parent_id = _parent(client, experiment_id, card, split_sha256)
            return Store(client, uri, card, experiment_id, parent_id, patience)


@contextmanager
def in_words(uri: str) -> Iterator[None]:
    """Turn what MLflow, its database and the network raise into one error; an `OSError` is the network's or the disk's.

    Raises:
        TrackingError: In place of theirs, without any password; `RefusedError` where one result alone is meant.
    """
    _quieten()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        kind = RefusedError if isinstance(error, MlflowException) and _is_refusal(error) else TrackingError
        # What theirs quotes may hold a password, and whoever shows an error shows its cause.
        raise kind(f"The tracking store at {masked(uri)} cannot be used: {reason}") from None


def _quieten() -> None:
    silence_reports()
    for name, value in IMPATIENCE.items():
        os.environ.setdefault(name, value)
    # What MLflow does to its own tables, and each of urllib3's attempts, is no news of a study.
    for name in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


def _is_refusal(error: Any) -> bool:
    return error.get_http_status_code() in REFUSALS


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


def _parent(client: MlflowClient, experiment_id: str, card: StudyCard, split_sha256: str) -> str:
    """Return the run of a study on one split; outcomes on other rows are not compared with these."""
    tags = {"study": card.name, "role": "study", "split_sha256": split_sha256}
    found = client.search_runs(
        [experiment_id], " and ".join(f"tags.{name} = '{value}'" for name, value in tags.items()), max_results=1
    )
    if found:
        return found[0].info.run_id
    run = client.create_run(experiment_id, tags=tags | {"mlflow.note.content": card.description}, run_name=card.name)
    client.set_terminated(run.info.run_id)
    return run.info.run_id
