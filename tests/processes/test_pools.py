"""Pools between real processes: two fits in the GPU pool never run at once, whoever started them."""

import os
import subprocess
import sys
import time

import dagster as dg
import pytest

from tunewise.capacity import GPUS_ENV
from tunewise.toy_study import write_toy_study

ON_A_GPU = {"gpus": 1, "cpu_fallback": True, "cpus": 1}


@pytest.fixture
def run(home, tmp_path, monkeypatch):
    """Start `tunewise run` on a study of one fit in the GPU pool, and end what is left."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    started = []
    launcher = [sys.executable, "-P", "-m", "pipelines.launch"]

    def _run(name, **variables):
        fit = {"method": "lora", "name": "lora", "compute": ON_A_GPU, "settings": {"min_steps": 150}}
        path = write_toy_study(tmp_path / name, [fit], name=name)
        environment = os.environ | {GPUS_ENV: ""} | variables
        process = subprocess.Popen(
            [*launcher, "run", str(path)],
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield _run
    for process in started:
        process.kill()
        process.communicate(timeout=10)


def spans(home, names):
    """Return when each study's fit began and ended, by the events in the home folder's instance."""
    found = {}
    with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
        for record in instance.get_run_records():
            for entry in instance.all_logs(record.dagster_run.run_id):
                event = entry.dagster_event
                if event is not None and event.step_key in {f"{name}__lora" for name in names}:
                    found.setdefault(event.step_key, {})[event.event_type_value] = entry.timestamp
    return [(one["STEP_START"], one["STEP_SUCCESS"]) for one in found.values()]


FIT = """
import sys, time
import dagster as dg
from pipelines.instance import prepare_instance
from resources.compute import pool_of
from tunewise.home import Home
from tunewise.study import Compute

@dg.asset(name=sys.argv[1], pool=pool_of(Compute(gpus=1)))
def fit() -> None:
    begun = time.time()
    time.sleep(3)
    print(begun, time.time())

home = Home.default()
prepare_instance(home)
with dg.DagsterInstance.get() as instance:
    (home.root / f"{sys.argv[1]}.ready").touch()
    while len(list(home.root.glob("*.ready"))) < 2:
        time.sleep(0.02)
    dg.materialize([fit], instance=instance, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}})
"""


def test_two_steps_of_one_pool_take_turns(home, monkeypatch):
    """Two programs, neither of them a daemon, know of each other by the home folder's instance alone."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    command = [sys.executable, "-c", FIT]
    environment = os.environ | {GPUS_ENV: ""}
    started = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, env=environment) for name in ("one", "two")]
    said = [process.communicate(timeout=120)[0].decode().split() for process in started]
    first, second = sorted(tuple(map(float, times)) for times in said)

    assert [process.returncode for process in started] == [0, 0]
    assert first[1] <= second[0]


@pytest.mark.slow
def test_two_processes_do_not_fit_in_one_pool_at_once(run, home):
    """Each was started by itself, no daemon runs, and the pool has one slot in the home folder's instance."""
    ended = [run(name) for name in ("one", "two")]
    for process in ended:
        _, said = process.communicate(timeout=150)
        assert process.returncode == 0, said.decode()
    first, second = sorted(spans(home, ("one", "two")))

    assert first[1] <= second[0]


@pytest.mark.slow
def test_a_killed_process_leaves_its_slot(run, home):
    """The next command finds the run whose process is gone, closes it, and fits."""
    killed = run("one")
    end = time.monotonic() + 60
    while not list((home.root / "work").glob("*/")) and time.monotonic() < end:
        time.sleep(0.1)
    killed.kill()
    killed.communicate(timeout=10)
    next_one = run("two")
    _, said = next_one.communicate(timeout=100)

    assert next_one.returncode == 0, said.decode()
    with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
        states = sorted(str(record.dagster_run.status.value) for record in instance.get_run_records())
    assert "STARTED" not in states
