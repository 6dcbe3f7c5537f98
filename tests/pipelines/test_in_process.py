"""A whole run in one process: everything reused the second time, failures named, nothing sent, nothing stuck."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from mlflow import MlflowClient

from pipelines.in_process import MACHINE_TAG, PROCESS_TAG, close_abandoned_runs, compare_study, run_study
from pipelines.instance import prepare_instance
from resources.tracking_store import default_uri
from tunewise.contracts import no_progress
from tunewise.study_file import read_study
from tunewise.toy_study import write_toy_study

FAILING = {"method": "lora", "name": "hopeless", "settings": {"targets": ["no_such_layer"]}}


def run_file(path, home, only=()):
    """Run the study in the file at ``path``."""
    return run_study(read_study(path), path.parent, home, only=only, progress=no_progress)


def numbers_of(home):
    """Return the comparison's numbers."""
    return json.loads((home.study("toy") / "comparison" / "comparison.json").read_text())


def tracked(home):
    """Return the runs of the outcomes in the tracking store."""
    client = MlflowClient(default_uri(home))
    experiment = client.get_experiment_by_name("toy")
    return client.search_runs([experiment.experiment_id], "tags.role = 'outcome'")


def test_a_study_runs_from_its_table_to_its_page_and_then_reuses_everything(ready_home, tmp_path):
    """The second run fits nothing, records nothing anew, and its page says the same."""
    path = write_toy_study(tmp_path / "toy")
    first = run_file(path, ready_home)
    page, runs = numbers_of(ready_home), tracked(ready_home)
    pointers = ready_home.study("toy") / "latest"
    again = run_file(path, ready_home)

    assert (first.failures, first.has_comparison) == ((), True)
    assert {run.data.tags["variant"] for run in runs} == {"majority", "tfidf_logistic"}
    assert {run.data.tags["dagster.asset_key"] for run in runs} == {"toy/majority", "toy/tfidf_logistic"}
    assert {run.data.tags["dagster.run_id"] for run in runs} == {first.run_id}
    assert (again.failures, again.has_comparison) == ((), True)
    assert all(json.loads(file.read_text())["is_reused"] for file in pointers.rglob("*.json"))
    assert len(tracked(ready_home)) == len(runs)
    assert numbers_of(ready_home) == page


def test_a_failed_variant_stops_no_other_and_is_named_in_the_comparison(ready_home, tmp_path):
    """The others have their rows; the failed one is missing with its error, and its asset failed."""
    path = write_toy_study(tmp_path / "toy", ["majority", FAILING, "tfidf_logistic"])
    done = run_file(path, ready_home)
    found = numbers_of(ready_home)

    assert [failure.asset for failure in done.failures] == ["hopeless"]
    assert "no_such_layer" in done.failures[0].message
    assert {one["variant"] for one in found["variants"]} == {"majority", "tfidf_logistic"}
    assert [(one["variant"], one["reason"]) for one in found["missing"]] == [("hopeless", "failed")]
    assert "no_such_layer" in found["missing"][0]["message"]


def test_a_backbone_that_cannot_be_had_fails_its_own_variants_alone(ready_home, tmp_path):
    """What needs no backbone is fitted, the page is written, and the others are named with the reason."""
    path = write_toy_study(tmp_path / "toy", ["lora", "majority"], backbones=[{"name": "gone", "source": "path:none"}])
    # Such a study file is refused where it is read; a folder may go later.
    (path.parent / "none").mkdir()
    study = read_study(path)
    (path.parent / "none").rmdir()
    done = run_study(study, path.parent, ready_home, only=(), progress=no_progress)
    found = numbers_of(ready_home)

    assert [failure.asset for failure in done.failures] == ["lora"]
    assert (ready_home.study("toy") / "comparison" / "index.html").exists()
    assert [one["variant"] for one in found["variants"]] == ["majority"]
    assert [(one["variant"], one["reason"]) for one in found["missing"]] == [("lora", "failed")]


def test_only_what_was_asked_for_is_fitted(ready_home, tmp_path):
    """The comparison names the rest as never run."""
    path = write_toy_study(tmp_path / "toy")
    run_file(path, ready_home, only=["majority"])
    found = numbers_of(ready_home)

    assert [one["variant"] for one in found["variants"]] == ["majority"]
    assert [(one["variant"], one["reason"]) for one in found["missing"]] == [("tfidf_logistic", "never ran")]


def test_comparing_alone_fits_nothing(ready_home, tmp_path):
    """A report of a study that never ran says so for every variant."""
    path = write_toy_study(tmp_path / "toy")
    done = compare_study(read_study(path), path.parent, ready_home, no_progress)

    assert done.has_comparison
    assert {one["reason"] for one in numbers_of(ready_home)["missing"]} == {"never ran"}


def test_data_that_cannot_be_read_fails_the_run_with_its_error(ready_home, tmp_path):
    """Nothing is fitted or compared, and the message is the data's own."""
    path = write_toy_study(tmp_path / "toy")
    (path.parent / "texts.csv").write_text("text,label\nalpha,one\nbeta,one\n")
    done = run_file(path, ready_home)

    assert not done.has_comparison
    assert [failure.asset for failure in done.failures] == ["dataset"]
    assert "class" in done.failures[0].message


def test_the_pages_show_what_the_command_line_ran(ready_home, tmp_path):
    """Materialisations, figures, checks and the link to the tracked run are in Dagster's instance."""
    path = write_toy_study(tmp_path / "toy")
    run_file(path, ready_home)
    with dg.DagsterInstance.get() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["toy", "tfidf_logistic"]))
        checks = instance.event_log_storage.get_asset_check_summary_records(
            [dg.AssetCheckKey(dg.AssetKey(["toy", "split"]), "classes_in_training")]
        )
    metadata = event.asset_materialization.metadata

    assert 0.5 < metadata["test_accuracy"].value <= 1.0
    assert metadata["mlflow"].value.startswith("http://127.0.0.1:5000/#/experiments/")
    assert [record["seed"] for record in (row.data for row in metadata["seeds"].records)] == [0]
    assert len(checks) == 1


def test_a_run_with_warm_caches_speaks_to_nobody(ready_home, tmp_path, monkeypatch):
    """No socket is opened beyond the loopback address from the table to the page."""
    path = write_toy_study(tmp_path / "toy", ["majority", "tfidf_logistic", "lora"])
    spoken = []

    def refuse(self, address, *rest):
        if self.family in {socket.AF_INET, socket.AF_INET6} and address[0] not in {"127.0.0.1", "::1", "localhost"}:
            spoken.append(address)
            raise OSError(f"a test forbids {address}")
        return connect(self, address, *rest)

    def look_up(host, *rest, **named):
        if host not in {"127.0.0.1", "::1", "localhost", None, socket.gethostname()}:
            spoken.append(host)
            raise OSError(f"a test forbids {host}")
        return find(host, *rest, **named)

    connect, find = socket.socket.connect, socket.getaddrinfo
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    done = run_file(path, ready_home)

    assert done.failures == ()
    assert spoken == []


def test_a_run_whose_process_is_gone_is_closed(ready_home, tmp_path):
    """A killed command line leaves no run under way and no pool slot taken; a living process's run is left alone."""
    prepare_instance(ready_home)
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    with dg.DagsterInstance.get() as instance:
        tags = {MACHINE_TAG: os.uname().nodename}
        dead, alive = (_started(instance, tags | {PROCESS_TAG: str(process)}) for process in (int(gone.stdout), os.getpid()))
        close_abandoned_runs(instance)

        assert instance.get_run_by_id(dead).status is dg.DagsterRunStatus.FAILURE
        assert instance.get_run_by_id(alive).status is dg.DagsterRunStatus.STARTED


def _started(instance, tags):
    @dg.job
    def nothing():
        pass

    run = instance.create_run_for_job(nothing, tags=tags)
    instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", "nothing"), run.run_id)
    return run.run_id


@pytest.mark.slow
def test_an_interrupted_run_goes_on_from_where_it_stopped(ready_home, tmp_path):
    """Ctrl-C ends the command with 130 and starts nothing more; the next call reuses what was finished and finishes the rest."""
    slow = {"method": "lora", "settings": {"min_steps": 1_000_000}}
    after = {"method": "tfidf_logistic", "name": "after", "settings": {"min_texts": 3}}
    path = write_toy_study(tmp_path / "toy", ["majority", "tfidf_logistic", slow, after])
    command = subprocess.Popen(
        [str(Path(sys.executable).with_name("tunewise")), "run", str(path)],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    finished = ready_home.study("toy") / "latest" / "tfidf_logistic" / "0.json"
    try:
        for _ in range(600):
            if finished.exists():
                break
            time.sleep(0.1)
        os.kill(command.pid, signal.SIGINT)
        _, said = command.communicate(timeout=60)
    finally:
        command.kill()

    assert command.returncode == 130
    assert not (ready_home.study("toy") / "latest" / "after").exists()
    assert "the same command goes on from there" in said
    write_toy_study(tmp_path / "toy", ["majority", "tfidf_logistic"])
    assert run_file(path, ready_home).failures == ()
    assert json.loads(finished.read_text())["is_reused"]
