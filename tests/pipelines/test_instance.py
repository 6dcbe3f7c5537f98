"""Dagster's instance below the home folder: its pools and queue hold, and a foreign one without limits is warned of."""

import subprocess
import sys

import dagster as dg
import pytest
import yaml

from pipelines.instance import prepare_instance
from resources.compute import limit_of
from tunewise.capacity import GPUS_ENV


@pytest.fixture(autouse=True)
def _no_instance(monkeypatch):
    """Nobody chose an instance."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.delenv("DAGSTER_HOME")


def limits(home):
    """Return the limits of the GPU pool and of one that nobody declared, and the queue's."""
    prepare_instance(home)
    with dg.DagsterInstance.get() as instance:
        queue = instance.get_concurrency_config().run_queue_config
        return limit_of("gpu", instance), limit_of("other", instance), queue


def test_the_first_use_makes_an_instance_whose_limits_hold(home, monkeypatch):
    """Every pool has one slot, one run fits at a time, and comparisons need not wait for it."""
    monkeypatch.setenv(GPUS_ENV, "")
    gpu, other, queue = limits(home)

    assert (gpu, other) == (1, 1)
    assert queue.max_concurrent_runs == 4
    assert [dict(one) for one in queue.tag_concurrency_limits] == [{"key": "tunewise/fits", "limit": 1}]


def test_the_gpu_pool_has_a_slot_per_gpu(home, monkeypatch):
    """Other pools have one; what the user sets later stands."""
    monkeypatch.setenv(GPUS_ENV, "0,1,2")
    assert limits(home)[:2] == (3, 1)
    with dg.DagsterInstance.get() as instance:
        instance.event_log_storage.set_concurrency_slots("gpu", 2)
    assert limits(home)[:2] == (2, 1)


def test_processes_that_meet_an_empty_home_at_once_share_one_instance(home):
    """Without a turn for each, Dagster's tables would be marked twice and never open again."""
    code = "from pipelines.instance import prepare_instance; from tunewise.home import Home; prepare_instance(Home.default());"
    code += "import dagster; dagster.DagsterInstance.get()"
    started = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(3)]
    said = [process.communicate(timeout=120)[1].decode() for process in started]

    assert [process.returncode for process in started] == [0, 0, 0], said
    prepare_instance(home)
    dg.DagsterInstance.get().dispose()


def test_settings_that_stand_are_left_alone(home):
    """The user may edit the file."""
    prepare_instance(home)
    settings = home.dagster / "dagster.yaml"
    settings.write_text("telemetry: {enabled: false}\n")
    prepare_instance(home)

    assert settings.read_text() == "telemetry: {enabled: false}\n"


def test_the_settings_are_right_for_dagster(home):
    """What is written is what Dagster takes, with telemetry off."""
    prepare_instance(home)
    said = yaml.safe_load((home.dagster / "dagster.yaml").read_text())
    with dg.DagsterInstance.get() as instance:
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled
    assert said["python_logs"]["managed_python_loggers"] == ["tunewise"]


@pytest.mark.parametrize("written", [None, "telemetry: {enabled: false}\n", "concurrency: {pools: {granularity: op}}\n", "- x\n"])
def test_a_foreign_instance_without_limits_is_warned_of(home, tmp_path, monkeypatch, caplog, written):
    """The words name the folder, what follows and what to write; the folder is left as it is."""
    if written is not None:
        (tmp_path / "dagster.yaml").write_text(written)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    before = sorted(tmp_path.iterdir())

    assert prepare_instance(home) == tmp_path
    assert f"DAGSTER_HOME={tmp_path} was given, which is not {home.dagster}" in caplog.text
    assert "fits that share a GPU may run at once" in caplog.text
    assert sorted(tmp_path.iterdir()) == before


def test_a_foreign_instance_with_limits_is_not(home, tmp_path, monkeypatch, caplog):
    """A team's own instance is as good as ours."""
    (tmp_path / "dagster.yaml").write_text("concurrency: {pools: {granularity: op, default_limit: 2}}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    prepare_instance(home)

    assert caplog.text == ""
