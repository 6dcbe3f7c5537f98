"""MLflow holds one run per study and split, and one child per outcome, once."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock, patch

import pytest
import requests
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from resources import tracker as sending
from resources.run_record import StudyCard
from resources.tracker import MlflowTracker, _may_hold, deliver, in_plain_words
from resources.tracking_store import IMPATIENCE, Store, default_uri, store_uri
from resources.waiting import studies_that_wait, waiting_of
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
    assert [file.path for file in client.list_artifacts(child.info.run_id)] == ["outcome.json", "predictions.parquet"]
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


@pytest.mark.parametrize(
    ("last", "nth"),
    # The first run that is made and finished is the study's.
    [
        *(("create_run", 1), ("create_run", 2), ("log_batch", 1), ("log_inputs", 1)),
        *(("log_artifact", 1), ("log_artifact", 2), ("set_terminated", 1), ("set_terminated", 2)),
    ],
)
def test_a_run_that_was_cut_off_is_filled_up_where_it_lies(cut_off, study, make_row, home, last, nth):
    """Wherever the sender ended, the same run is whole after the next delivery, with every point in it once."""
    cut_off(last, nth, lambda tracker: tracker.log_rows(study, [make_row()], ORIGIN))
    assert [one.variant for one in waiting_of(home, "mine")] == ["majority"]

    done = deliver(home, "mine")
    client = MlflowClient(default_uri(home))
    (child,) = runs(client, "outcome")

    assert (done.n_sent, done.n_waiting) == (1, 0)
    assert child.info.status == "FINISHED"
    assert len(client.get_metric_history(child.info.run_id, "curve.loss")) == 2
    assert len(client.get_metric_history(child.info.run_id, "test_accuracy")) == 1
    assert len(child.inputs.dataset_inputs) == 1
    assert studies_that_wait(home) == []


def test_an_end_between_sending_and_noting_sends_nothing_twice(tracker, study, make_row, home, monkeypatch):
    """The store has the run and nothing notes it: the next delivery finds it by its tags."""
    with monkeypatch.context() as patched:
        patched.setattr(sending._Book, "write", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tracker.log_rows(study, [make_row()], ORIGIN)
    deliver(home, "mine")
    deliver(home, "mine")

    assert len(runs(MlflowClient(default_uri(home)), "outcome")) == 1


def test_a_finished_run_is_not_edited(tracker, study, make_row, home):
    """A run that is whole gets no tag, point or file by whatever is recorded later, not even where its note is gone."""
    tracker.log_rows(study, [make_row()], ORIGIN)
    client = MlflowClient(default_uri(home))
    (before,) = runs(client, "outcome")
    for note in (home.mlflow / "sent").rglob("*.json"):
        note.unlink()
    tracker.log_rows(study, [make_row(), make_row(seed=1)], {"dagster.run_id": "run-2"})

    after = client.get_run(before.info.run_id)
    assert after.to_dictionary() == before.to_dictionary()


@pytest.fixture
def cut_off(tracker, monkeypatch):
    """Return a function that lets a call of MLflow's client be the last thing its process does."""

    def cut(name, nth, act):
        method, calls = getattr(MlflowClient, name), []

        def die(self, *args, **kwargs):
            calls.append(method(self, *args, **kwargs))
            if len(calls) == nth:
                raise KeyboardInterrupt
            return calls[-1]

        with monkeypatch.context() as patched:
            patched.setattr(MlflowClient, name, die)
            with pytest.raises(KeyboardInterrupt):
                act(tracker)

    return cut


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


def test_a_store_that_does_not_answer_costs_no_fit(tracker, study, make_row, home, monkeypatch):
    """Nothing is raised; what waits, why and what sends it is said without the password."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MY_TRACKING", f"http://user:secret@127.0.0.1:{free_port()}")
    elsewhere = study.model_copy(update={"tracking": study.tracking.model_copy(update={"uri_env": "MY_TRACKING"})})

    assert tracker.log_rows(elsewhere, [make_row(), make_row(seed=1)], ORIGIN) is None
    said = in_plain_words(home, "mine")
    assert said.startswith(
        "2 results wait to be recorded in MLflow; nothing is lost. `tunewise sync mine` sends what waits. Last"
    )
    assert "The tracking store at http://***@127.0.0.1:" in said
    assert "secret" not in said
    assert not [path for path in home.root.rglob("*.json") if "secret" in path.read_text()]


def test_a_store_that_was_away_is_left_alone_for_a_while(tracker, study, make_row, home, monkeypatch):
    """The next variant does not wait for it again; the page at the end asks once more and sends all."""
    asked = Mock(side_effect=OSError("no route"))
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "get_experiment_by_name", asked)
        tracker.log_rows(study, [make_row()], ORIGIN)
        tracker.log_rows(study, [make_row(seed=1)], ORIGIN)
    assert asked.call_count == 1
    assert len(waiting_of(home, "mine")) == 2

    tracker.log_page(study, "5" * 64, home.root, {})
    assert len(runs(MlflowClient(default_uri(home)), "outcome")) == 2
    assert in_plain_words(home, "mine") == ""


@pytest.mark.parametrize("broken", ["search_runs", "log_batch", "log_artifact"])
@pytest.mark.parametrize("error", [MlflowException("the database is locked\nand more"), OSError("no space left on device")])
def test_an_error_on_the_way_is_in_words(tracker, study, make_row, home, broken, error):
    """Whatever is asked of the store, what waits names the store and what it said."""
    with patch.object(MlflowClient, broken, Mock(side_effect=error)):
        assert tracker.log_rows(study, [make_row()], ORIGIN) is None
    assert f"cannot be used: {str(error).splitlines()[0]}" in in_plain_words(home, "mine")


def test_a_result_that_the_store_refuses_keeps_back_no_other(tracker, study, make_row, home, monkeypatch):
    """One that is taken for wrong waits with its reason; those after it are recorded."""
    create = MlflowClient.create_run

    def refuse_the_first(self, *args, **kwargs):
        if kwargs["tags"].get("seed") == "0":
            raise MlflowException("that name is too long", error_code=INVALID_PARAMETER_VALUE)
        return create(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "create_run", refuse_the_first)
    tracker.log_rows(study, [make_row(), make_row(seed=1)], ORIGIN)

    assert [one.seed for one in waiting_of(home, "mine")] == [0]
    assert "1 result waits" in in_plain_words(home, "mine")
    assert "that name is too long" in in_plain_words(home, "mine")


def test_a_slow_store_is_given_up_in_mid_run(tracker, study, make_row, home, monkeypatch):
    """Between two requests a delivery looks at the clock; what it had begun is filled up later."""
    monkeypatch.setattr(sending, "SECONDS_PER_DELIVERY", 0.1)
    search = MlflowClient.search_runs

    def slowly(self, *args, **kwargs):
        time.sleep(0.2)
        return search(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "search_runs", slowly)
        tracker.log_rows(study, [make_row()], ORIGIN)
    assert "recording took longer than 0.1 s" in in_plain_words(home, "mine")
    assert deliver(home, "mine").n_sent == 1


def test_an_outcome_that_is_gone_is_named(tracker, study, make_row, home, monkeypatch):
    """What waits has its content in the outcome's folder; without it the delivery says so and sends the others."""
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "get_experiment_by_name", Mock(side_effect=OSError("no route")))
        tracker.log_rows(study, [make_row(), make_row(seed=1, key="b" * 64)], ORIGIN)
    shutil.rmtree(home.artifacts / "outcomes" / ("a" * 64))
    done = deliver(home, "mine")

    assert (done.n_sent, done.n_waiting) == (1, 1)
    assert "a" * 64 in done.reason


def test_a_variable_that_is_empty_keeps_results_waiting_until_it_is_set(tracker, study, make_row, home, monkeypatch):
    """The fit counts; setting the variable and delivering records it, where it says then."""
    unset = study.model_copy(update={"tracking": study.tracking.model_copy(update={"uri_env": "MY_TRACKING"})})
    assert tracker.log_rows(unset, [make_row()], ORIGIN) is None
    assert "tracking.uri_env='MY_TRACKING' was given and that variable is empty" in in_plain_words(home, "mine")

    monkeypatch.setenv("MY_TRACKING", default_uri(home))
    assert deliver(home, "mine").n_sent == 1
    assert len(runs(MlflowClient(default_uri(home)), "outcome")) == 1


def test_what_waits_goes_where_the_study_says_now(tracker, study, make_row, home, monkeypatch):
    """A server that moved is written into the study's file once, and what waited for the old one goes there."""
    gone = study.model_copy(update={"tracking": study.tracking.model_copy(update={"uri": f"http://127.0.0.1:{free_port()}"})})
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker.log_rows(gone, [make_row()], ORIGIN)

    assert deliver(home, "mine", StudyCard.of(study)).n_sent == 1
    assert len(runs(MlflowClient(default_uri(home)), "outcome")) == 1


def test_a_disk_without_room_for_a_note_costs_no_fit(tracker, study, make_row, monkeypatch):
    """Where not even the small file that waits can be written, the outcome itself stands and the run goes on."""
    monkeypatch.setattr(sending, "keep", Mock(side_effect=OSError(28, "No space left on device")))

    assert tracker.log_rows(study, [make_row()], ORIGIN) is None


def test_the_page_waits_like_a_result(tracker, study, make_row, page, home, monkeypatch):
    """A page that cannot be sent is sent later, as it is then; of several that wait the newest counts."""
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_metric", Mock(side_effect=MlflowException("the database is locked")))
        tracker.log_page(study, "5" * 64, page, {"best_accuracy": 0.8})
        (page / "index.html").write_text("<p>head_only</p>")
        tracker.log_page(study, "5" * 64, page, {"best_accuracy": 0.9})
    assert "1 result waits" in in_plain_words(home, "mine")
    deliver(home, "mine")
    (parent,) = runs(MlflowClient(default_uri(home)), "study")

    assert parent.data.metrics == {"best_accuracy": 0.9}


def test_mlflow_is_not_as_patient_as_it_would_be(tracker, study, make_row, monkeypatch):
    """Its own time-out and retries are set, so that a store that is away stops a fit for seconds, not for minutes."""
    for name in IMPATIENCE:
        monkeypatch.delenv(name, raising=False)
    tracker.log_rows(study, [make_row()], ORIGIN)

    assert MLFLOW_HTTP_REQUEST_TIMEOUT.get() == 10
    assert MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() == 1


def test_two_that_record_the_same_outcome_at_once_record_it_once(home, store, study, make_row, monkeypatch):
    """Both see no note; the second waits until the first has recorded, and finds its run."""
    find = Store._find

    def slowly(self, row):
        found = find(self, row)
        time.sleep(0.3)
        return found

    monkeypatch.setattr(Store, "_find", slowly)
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
        store_uri(StudyCard.of(unset), home)


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
