"""Dagster's daemon on the home folder: a schedule's tick and a sensor's tick become finished runs, without any page."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import dagster as dg
import psutil
import pytest

from pipelines.launch import ALLOCATOR
from pipelines.study_folders import FOLDERS_ENV
from tunewise.toy_study import TABLE, write_toy_study

SECONDS = 300


@pytest.fixture
def daemon(home, tmp_path, monkeypatch):
    """Start `tunewise daemon` on a studies folder, and end it with all that it started."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    started = []

    def start(studies):
        plain = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
        with (tmp_path / "daemon.log").open("wb") as log:
            command = [sys.executable, "-P", "-m", "pipelines.launch", "daemon"]
            environment = plain | {FOLDERS_ENV: str(studies)}
            process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
            )
        started.append(process)
        return process

    yield start
    for process in started:
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, how)
                process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def ended_runs(home, study):
    """Return the ended runs of a study's job, the first first."""
    if not (home.dagster / "dagster.yaml").exists():
        return []
    with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
        records = instance.get_run_records(dg.RunsFilter(job_name=study))
    runs = [record.dagster_run for record in reversed(records)]
    return [run for run in runs if run.is_finished]


def wait_for(get, process, log):
    """Wait until there is something, as long as the daemon lives."""
    end = time.monotonic() + SECONDS
    while not (found := get()):
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < end, log.read_text()[-3000:]
        time.sleep(1)
    return found


@pytest.mark.slow
def test_a_schedule_and_changed_rows_become_finished_runs(daemon, home, tmp_path):
    """One study is due in a minute or two; the other runs when its table grows, and its run says by how much."""
    studies, log = tmp_path / "studies", tmp_path / "daemon.log"
    # Twice, since a tick that comes before the daemon is up starts nothing.
    due = ",".join(str(time.gmtime(time.time() + seconds).tm_min) for seconds in (75, 195))
    write_toy_study(studies / "timed", ["majority"], name="timed", cron=f"{due} * * * *")
    path = write_toy_study(studies / "watched", ["majority"], name="watched", watch=True)
    process = daemon(studies)
    (run, *_) = wait_for(lambda: ended_runs(home, "timed"), process, log)
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert run.tags["dagster/schedule_name"] == "timed_schedule"
    assert (home.study("timed") / "latest" / "majority" / "0.json").exists()
    assert ended_runs(home, "watched") == []

    environments = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.Error, ProcessLookupError):  # it may end meanwhile
            environments.append(child.environ())
    assert environments
    assert all(ALLOCATOR.items() <= environment.items() for environment in environments)

    with (path.parent / TABLE).open("a") as table:
        table.write("a wholly new text,class_0\n")
    (run,) = wait_for(lambda: ended_runs(home, "watched"), process, log)
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert run.tags["tunewise/rows_added"] == "1"
    assert run.tags["tunewise/change"] == "Of 241 rows: 1 row added."
