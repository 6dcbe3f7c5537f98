"""Schedules and sensors of a study: a run for changed rows, saying which, and nothing for anything else."""

import os
import time

import dagster as dg
import pytest

from pipelines.definitions import defs
from pipelines.schedules import study_definitions
from pipelines.sensors import CHANGE_TAG
from tunewise.errors import SourceError
from tunewise.study_file import read_study
from tunewise.toy_study import TABLE, write_toy_study

ROW = "a wholly new text,class_0\n"


@pytest.fixture
def sensor(tmp_path):
    """The data sensor of a toy study that is watched."""
    path = write_toy_study(tmp_path / "toy", watch=True)
    (found,) = study_definitions(read_study(path), path.parent).sensors
    return found


@pytest.fixture
def table(tmp_path):
    """Append rows to the study's table, long enough ago that nobody is still writing."""

    def append(text):
        file = tmp_path / "toy" / TABLE
        with file.open("a") as rows:
            rows.write(text)
        moment = time.time() - 60 + file.stat().st_size % 50
        os.utime(file, (moment, moment))

    return append


def tick(sensor, cursor=None):
    """Return what one evaluation says, and the cursor after it."""
    with dg.instance_for_test() as instance:
        context = dg.build_sensor_context(instance, cursor=cursor)
        said = sensor(context)
        return said, context.cursor


def test_new_rows_start_a_run_that_says_what_is_new(sensor, table):
    """Counts are the run's tags; the tick before and the tick after start nothing."""
    first, cursor = tick(sensor)
    table(ROW)
    request, cursor = tick(sensor, cursor)
    again, _ = tick(sensor, cursor)

    assert first.skip_message == "240 rows are watched from now on."
    assert request.tags[CHANGE_TAG] == "Of 241 rows: 1 row added."
    assert (request.tags["tunewise/rows_added"], request.tags["tunewise/rows_removed"]) == ("1", "0")
    assert again.skip_message == "Nothing was written since the last look."


def test_each_change_is_a_run_of_its_own(sensor, table, tmp_path):
    """The keys by which Dagster starts nothing twice differ, even where rows come back."""
    file = tmp_path / "toy" / TABLE
    whole = file.read_text()
    _, cursor = tick(sensor)
    table(ROW)
    there, cursor = tick(sensor, cursor)
    file.write_text(whole)
    table("\n")
    back, _ = tick(sensor, cursor)

    assert there.run_key != back.run_key
    assert back.tags[CHANGE_TAG] == "Of 240 rows: 1 row removed."


def test_a_table_that_is_gone_fails_the_tick(sensor, tmp_path):
    """The tick is red with the reason, and the cursor stands."""
    _, cursor = tick(sensor)
    (tmp_path / "toy" / TABLE).unlink()
    with pytest.raises(SourceError, match="There is no file"):
        tick(sensor, cursor)


def test_a_study_is_watched_where_it_asks_for_it(studies):
    """The sensor then runs from the start and runs the study's whole job; other studies have none."""
    write_toy_study(studies / "one", name="one", watch=True)
    write_toy_study(studies / "two", name="two")
    found = {sensor.name: sensor for sensor in defs().sensors}

    assert set(found) == {"one_data", "comparison_after_failure", "comparison_after_any_variant"}
    assert found["one_data"].job_name == "one"
    assert found["one_data"].default_status is dg.DefaultSensorStatus.RUNNING


def test_a_variant_fitted_by_itself_makes_the_comparison_due_and_nothing_else(studies):
    """Once, and no fit follows from it; before anything was fitted nothing is due."""
    write_toy_study(studies / "toy")
    whole = defs()
    with dg.instance_for_test() as instance:
        first = dg.evaluate_automation_conditions(whole, instance=instance)
        instance.report_runless_asset_event(dg.AssetMaterialization(["toy", "majority"]))
        second = dg.evaluate_automation_conditions(whole, instance=instance, cursor=first.cursor)
        third = dg.evaluate_automation_conditions(whole, instance=instance, cursor=second.cursor)

    assert [one.total_requested for one in (first, second, third)] == [0, 1, 0]
    assert second.get_num_requested(dg.AssetKey(["toy", "comparison"])) == 1


def test_runs_that_fit_wait_for_one_another_and_comparisons_do_not(studies):
    """The queue's limit is on the tag of fits."""
    write_toy_study(studies / "one", name="one")
    jobs = {job.name: job.tags for job in defs().get_repository_def().get_all_jobs()}

    assert jobs["one"].items() >= {"tunewise/study": "one", "tunewise/fits": "yes"}.items()
    assert "tunewise/fits" not in jobs["one__comparison__alone"]
