"""Keeps a failed variant from stopping the comparison: Dagster starts nothing below a failed asset."""

from collections.abc import Iterator, Sequence

import dagster as dg

from assets.keys import COMPARISON
from pipelines.schedules import comparison_job, comparison_job_name


def comparison_after_failure(studies: Sequence[str]) -> dg.SensorDefinition:
    """Return the sensor that runs a study's comparison after a run in which one of its variants failed.

    It is on from the start, and takes its time from the daemon; the command line compares by itself.
    """

    @dg.run_failure_sensor(
        name="comparison_after_failure",
        request_jobs=[comparison_job(name) for name in studies],
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=10,
    )
    def sensor(context: dg.RunFailureSensorContext) -> Iterator[dg.RunRequest]:
        """Compare the outcomes there are where a variant failed."""
        failed = [_study_of(event.step_key or "", studies) for event in context.get_step_failure_events()]
        for name in sorted({name for name in failed if name}):
            yield dg.RunRequest(run_key=f"{context.dagster_run.run_id}/{name}", job_name=comparison_job_name(name))

    return sensor


def _study_of(step: str, studies: Sequence[str]) -> str | None:
    """Return the study whose variant a step fits: a step is called ``study__asset``."""
    name, _, asset = step.partition("__")
    return name if name in studies and asset != COMPARISON else None
