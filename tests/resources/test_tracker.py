"""MLflow holds one run per study and split, and one child per outcome, once."""

import os
import socket
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from resources.tracker import MlflowTracker, TrackingError, _may_hold, _Store, default_uri, store_uri
from tunewise.errors import StudyError

ORIGIN = {"dagster.run_id": "run-1", "dagster.asset_key": "mine/majority"}


@pytest.fixture
def tracker(home, store):
    """A tracker with an empty SQLite store."""
    return MlflowTracker(root=str(home.root))


def free_port():
    """Return a port of the loopback address that nothing listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture
def page(tmp_path):
    """A folder with a page."""
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text("<p>lora</p>")
    return folder


def runs(client, role):
    """Return all runs of the experiment ``mine`` that play ``role``."""
    experiment = client.get_experiment_by_name("mine")
    return client.search_runs([experiment.experiment_id], f"tags.role = '{role}'")


def test_an_outcome_becomes_a_child_of_the_studys_run(tracker, study, make_row, home):
    """Tags, settings, figures, curve, data set and files of an outcome are found in its run, below the study's."""
    link = tracker.log_rows(study, [make_row()], ORIGIN)
    client = MlflowClient(default_uri(home))
    (parent,), (child,) = runs(client, "study"), runs(client, "outcome")

    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.tags | ORIGIN == child.data.tags
    assert child.data.tags["marks"] == "predicts one class for every text"
    assert child.data.params == {
        "rank": "8",
        "targets": '["query", "value"]',
        "budget": "quick",
        "epochs": "2",
        "chosen.epoch": "2",
    }
    assert child.data.metrics["test_accuracy"] == 0.75
    assert child.data.metrics["fit_seconds"] == 1.5
    assert [(point.step, point.value) for point in client.get_metric_history(child.info.run_id, "curve.loss")] == [
        (1, 0.7),
        (2, 0.5),
    ]
    assert child.inputs.dataset_inputs[0].dataset.digest == "5" * 32
    assert [file.path for file in client.list_artifacts(child.info.run_id)] == ["outcome.json"]
    assert child.info.status == "FINISHED"
    assert link == f"http://127.0.0.1:5000/#/experiments/{child.info.experiment_id}/runs/{child.info.run_id}"


def test_the_same_outcome_is_recorded_once(tracker, study, make_row, home):
    """A second call adds nothing and asks MLflow nothing; without the note, the store itself is asked."""
    first = tracker.log_rows(study, [make_row()], ORIGIN)
    database = home.mlflow / "mlflow.db"
    before = database.stat().st_mtime_ns

    assert tracker.log_rows(study, [make_row()], ORIGIN) == first
    assert database.stat().st_mtime_ns == before

    for note in (home.mlflow / "sent").rglob("*.json"):
        note.unlink()
    assert tracker.log_rows(study, [make_row()], ORIGIN) == first
    assert len(runs(MlflowClient(default_uri(home)), "outcome")) == 1


def test_another_outcome_another_seed_and_another_name_are_runs_of_their_own(tracker, study, make_row, home):
    """What a study shows as rows of their own are runs of their own, even where two names share an outcome."""
    rows = [make_row(), make_row(seed=1), make_row(key="b" * 64), make_row(variant="other_name")]
    tracker.log_rows(study, rows, ORIGIN)

    assert len(runs(MlflowClient(default_uri(home)), "outcome")) == 4


def test_a_run_that_was_cut_off_is_recorded_anew(tracker, study, make_row, home):
    """A child that never finished holds no whole result and counts for nothing."""
    tracker.log_rows(study, [make_row()], ORIGIN)
    client = MlflowClient(default_uri(home))
    (cut,) = runs(client, "outcome")
    client.update_run(cut.info.run_id, status="RUNNING")
    for note in (home.mlflow / "sent").rglob("*.json"):
        note.unlink()
    tracker.log_rows(study, [make_row()], ORIGIN)

    assert sorted(run.info.status for run in runs(client, "outcome")) == ["FINISHED", "RUNNING"]


def test_the_first_touch_of_several_at_once_makes_one_experiment_and_one_parent(home, study, make_row):
    """Four that meet a fresh store together do not get in one another's way."""

    def log(seed: int) -> str | None:
        return MlflowTracker(root=str(home.root)).log_rows(study, [make_row(seed=seed)], ORIGIN)

    with ThreadPoolExecutor(4) as pool:
        links = list(pool.map(log, range(4)))
    client = MlflowClient(default_uri(home))

    assert len(set(links)) == 4
    assert len(runs(client, "study")) == 1
    assert len(runs(client, "outcome")) == 4


def test_the_page_is_kept_with_the_studys_run(tracker, study, make_row, page, home):
    """The comparison's files lie in the parent run, beside the figures of its conclusion."""
    tracker.log_rows(study, [make_row()], ORIGIN)
    tracker.log_page(study, "5" * 64, page, {"best_accuracy": 0.9})
    client = MlflowClient(default_uri(home))
    (parent,) = runs(client, "study")

    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["index.html"]
    assert parent.data.metrics == {"best_accuracy": 0.9}


def test_nothing_that_is_kept_is_a_pickle(tracker, study, make_row, home):
    """The store holds a database and copies of JSON, Parquet and page files."""
    tracker.log_rows(study, [make_row()], ORIGIN)
    suffixes = {path.suffix for path in home.mlflow.rglob("*") if path.is_file()}

    assert suffixes <= {".db", ".json", ".lock", ".parquet", ".html", ".md", ".db-wal", ".db-shm"}


def test_a_store_that_does_not_answer_is_named(tracker, study, make_row, monkeypatch):
    """The error names the store, says what is kept and what to do."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MY_TRACKING", f"http://user:secret@127.0.0.1:{free_port()}")
    elsewhere = study.model_copy(update={"tracking": study.tracking.model_copy(update={"uri_env": "MY_TRACKING"})})

    with pytest.raises(
        TrackingError, match=r"The tracking store at http://127\.0\.0\.1:\d+ cannot be used.*The outcomes are kept"
    ) as caught:
        tracker.log_rows(elsewhere, [make_row()], ORIGIN)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("broken", ["search_runs", "log_batch", "log_artifact"])
@pytest.mark.parametrize("error", [MlflowException("the database is locked\nand more"), OSError("no route")])
def test_an_error_on_the_way_is_in_words(tracker, study, make_row, monkeypatch, broken, error):
    """Whatever is asked of the store, its error names the store and what to do."""
    monkeypatch.setattr(MlflowClient, broken, Mock(side_effect=error))
    expected = rf"The tracking store at sqlite.*cannot be used: .*{str(error).splitlines()[0]}.*The outcomes are kept"

    with pytest.raises(TrackingError, match=expected):
        tracker.log_rows(study, [make_row()], ORIGIN)


def test_an_error_while_the_page_is_sent_is_in_words(tracker, study, make_row, page, monkeypatch):
    """The page's files and figures are sent under the same roof."""
    tracker.log_rows(study, [make_row()], ORIGIN)
    monkeypatch.setattr(MlflowClient, "log_metric", Mock(side_effect=MlflowException("the database is locked")))

    with pytest.raises(TrackingError, match=r"cannot be used: the database is locked"):
        tracker.log_page(study, "5" * 64, page, {"best_accuracy": 0.9})


def test_two_that_record_the_same_outcome_at_once_record_it_once(home, store, study, make_row, monkeypatch):
    """Both see no note; the second waits until the first has recorded, and finds its run."""
    find = _Store.find

    def slowly(self, row):
        found = find(self, row)
        time.sleep(0.3)
        return found

    monkeypatch.setattr(_Store, "find", slowly)
    with ThreadPoolExecutor(2) as pool:
        links = list(pool.map(lambda _: MlflowTracker(root=str(home.root)).log_rows(study, [make_row()], ORIGIN), range(2)))

    assert len(set(links)) == 1
    assert len(runs(MlflowClient(default_uri(home)), "outcome")) == 1


def test_a_store_that_was_deleted_is_filled_again(tracker, study, make_row, page, home):
    """Notes of runs that are gone count for nothing, also where the database was made anew by another study."""
    other = study.model_copy(update={"name": "other"})

    def record():
        tracker.log_rows(study, [make_row()], ORIGIN)
        tracker.log_page(study, "5" * 64, page, {"best_accuracy": 0.9})

    record()
    _empty(home.mlflow / "mlflow.db")
    tracker.log_rows(other, [make_row()], ORIGIN)
    record()
    client = MlflowClient(default_uri(home))

    assert len(runs(client, "outcome")) == 1
    assert runs(client, "study")[0].data.metrics == {"best_accuracy": 0.9}


def test_looking_for_a_run_makes_no_database(tmp_path):
    """A file that is not there, or is no database, holds nothing; what is no file is taken at its word."""
    (tmp_path / "odd%20name?.db").write_text("no database")

    assert not _may_hold(f"sqlite:///{tmp_path}/gone.db", "run")
    assert not _may_hold(f"sqlite:///{tmp_path}/odd%20name.db", "run")
    assert _may_hold("http://127.0.0.1:5000", "run")
    assert not (tmp_path / "gone.db").exists()


def _empty(database):
    """Take every run and experiment out of a store, as if it were deleted and made anew; MLflow keeps the file open."""
    with closing(sqlite3.connect(database)) as store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in set(tables) - {"alembic_version", "sqlite_sequence", "workspaces"}:
            store.execute(f"DELETE FROM {table}")  # noqa: S608 - the database's own names
        store.commit()


def test_a_variable_that_is_not_set_is_named(study, home):
    """Naming an empty variable is an error, not a silent change to the default store."""
    unset = study.model_copy(update={"tracking": study.tracking.model_copy(update={"uri_env": "TUNEWISE_NO_SUCH_VARIABLE"})})

    with pytest.raises(StudyError, match=r"uri_env='TUNEWISE_NO_SUCH_VARIABLE' was given and that variable is empty"):
        store_uri(unset, home)


@pytest.mark.slow
def test_a_server_answers_for_the_children_over_rest(tracker, study, make_row, home):
    """`mlflow server` on the same store lists the child runs under their parent."""
    tracker.log_rows(study, [make_row(seed=seed) for seed in (0, 1)], ORIGIN)
    port = free_port()
    server = _server(home, port)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(f"{url}/health", server)
        experiment = _ask(f"{url}/api/2.0/mlflow/experiments/get-by-name?experiment_name=mine")["experiment"]["experiment_id"]
        asked = {"experiment_ids": [experiment], "filter": "tags.role = 'outcome'"}
        found = _ask(f"{url}/api/2.0/mlflow/runs/search", asked)["runs"]
    finally:
        server.terminate()
        server.wait(20)

    names = {run["info"]["run_name"] for run in found}
    parents = {tag["value"] for run in found for tag in run["data"]["tags"] if tag["key"] == "mlflow.parentRunId"}
    assert names == {"majority (seed 0)", "majority (seed 1)"}
    assert len(parents) == 1


def _server(home, port):
    command = [str(Path(sys.executable).with_name("mlflow")), "server", "--backend-store-uri", default_uri(home)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(
        command, env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, start_new_session=True, **quiet
    )


def _wait_for(url, server):
    for _ in range(120):
        assert server.poll() is None, "the server ended"
        try:
            requests.get(url, timeout=1)
        except requests.RequestException:
            time.sleep(0.5)
        else:
            return
    raise AssertionError(url)


def _ask(url, body=None):
    answer = requests.get(url, timeout=10) if body is None else requests.post(url, json=body, timeout=10)
    answer.raise_for_status()
    return answer.json()
