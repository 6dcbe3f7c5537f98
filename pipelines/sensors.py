"""Sensors: a run when rows of a study changed, and a comparison although a variant failed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.keys import COMPARISON, DATASET
from tunewise.home import Home
from tunewise.sources import HubSource, parse
from tunewise.steps import Workplace, tables_of
from tunewise.study import Study
from tunewise.watching import Look, Seen, look

SECONDS_BETWEEN_LOOKS, SECONDS_BETWEEN_QUESTIONS = 30, 600
"""At files, and to a hub."""

CHANGE_TAG = "tunewise/change"


def data_sensor(study: Study, base: Path, job: UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """Return the sensor that runs ``job`` when rows of ``study`` changed, with what changed as tags of the run.

    Files are looked at twice a minute, a hub is asked six times an hour. The rows of the last run are what the first
    look compares with, so that a change made while no daemon ran is found.

    Args:
        study: The study.
        base: The folder that its relative paths start from.
        job: What is run.
    """
    is_asking = any(isinstance(parse(source), HubSource) for source in tables_of(study))

    @dg.sensor(
        name=f"{study.name}_data",
        job=job,
        description="Runs the study when rows of its data were added, removed or changed.",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=SECONDS_BETWEEN_QUESTIONS if is_asking else SECONDS_BETWEEN_LOOKS,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Look at the data."""
        place = Workplace(study, base, Home.default())
        found = look(place, Seen.from_json(context.cursor), fitted=_rows_of_the_last_run(study.name, place.home))
        context.update_cursor(found.seen.to_json())
        context.log.info(found.message)
        return _request(found) if found.is_changed else dg.SkipReason(found.message)

    return sensor


def _request(found: Look) -> dg.RunRequest:
    """Return the run that a change asks for. Rows that come back after they were gone are a change of their own."""
    counts = {} if found.changes is None else {f"tunewise/rows_{name}": str(n) for name, n in found.changes.counts().items()}
    return dg.RunRequest(f"{found.seen.n_changes}-{found.seen.rows_sha256[:16]}", tags={CHANGE_TAG: found.message, **counts})


def _rows_of_the_last_run(study: str, home: Home) -> Path | None:
    try:
        return Path(json.loads((home.study(study) / "references" / f"{DATASET}.json").read_text())["uri"])
    except (OSError, ValueError, LookupError):
        return None


def comparison_after_any_variant(studies: Sequence[str]) -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that compares anew when a variant was fitted by itself, once no other is under way.

    Args:
        studies: Their names. Comparisons alone are started so: they cost seconds.
    """
    return dg.AutomationConditionSensorDefinition(
        name="comparison_after_any_variant",
        target=dg.AssetSelection.assets(*([name, COMPARISON] for name in studies)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    )


def comparison_after_failure(jobs: Mapping[str, UnresolvedAssetJobDefinition]) -> dg.SensorDefinition:
    """Return the sensor that runs a study's comparison after a run in which one of its variants failed.

    It is on from the start, and takes its time from the daemon; the command line compares by itself.

    Args:
        jobs: By study, the job that compares.
    """

    @dg.run_failure_sensor(
        name="comparison_after_failure",
        request_jobs=list(jobs.values()),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=10,
    )
    def sensor(context: dg.RunFailureSensorContext) -> Iterator[dg.RunRequest]:
        """Compare the outcomes there are where a variant failed."""
        failed = [_study_of(event.step_key or "", tuple(jobs)) for event in context.get_step_failure_events()]
        for name in sorted({name for name in failed if name}):
            yield dg.RunRequest(run_key=f"{context.dagster_run.run_id}/{name}", job_name=jobs[name].name)

    return sensor


def _study_of(step: str, studies: Sequence[str]) -> str | None:
    """Return the study whose variant a step fits: a step is called ``study__asset``."""
    name, _, asset = step.partition("__")
    return name if name in studies and asset != COMPARISON else None
