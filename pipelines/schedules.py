"""What of a study runs together, and when: by the clock, and when its rows change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from assets.graph import study_assets
from assets.keys import COMPARISON
from pipelines.sensors import data_sensor
from resources.compute import FITS_TAG, STUDY_TAG

if TYPE_CHECKING:
    from pathlib import Path

    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

    from tunewise.study import Study


def study_definitions(study: Study, base: Path) -> dg.Definitions:
    """Return the assets of a study, the job that runs it whole, its schedule, and the sensor of its rows.

    Schedule and sensor are there where the study asks for them, and then they run as soon as a daemon does.

    Args:
        study: The study.
        base: The folder that its relative paths start from.
    """
    everything = dg.AssetSelection.key_prefixes(study.name)
    tags = {STUDY_TAG: study.name, FITS_TAG: "yes"}
    job = dg.define_asset_job(study.name, selection=everything, description=study.description or None, tags=tags)
    schedules = [] if study.cron is None else [_schedule(study.name, study.cron, job)]
    sensors = [data_sensor(study, base, job)] if study.watch else []
    return dg.Definitions(assets=study_assets(study, base), jobs=[job], schedules=schedules, sensors=sensors)


def comparison_job(name: str) -> UnresolvedAssetJobDefinition:
    """Return the job that compares what there is of the study called ``name``, without fitting anything."""
    return dg.define_asset_job(
        comparison_job_name(name),
        selection=dg.AssetSelection.assets([name, COMPARISON]),
        description=f"Compares the outcomes that {name} has, and names those that failed.",
        tags={STUDY_TAG: name},
    )


def comparison_job_name(name: str) -> str:
    """Return the job's name. Steps have one pair of underscores in theirs and studies none, so nothing else is called so."""
    return f"{name}__{COMPARISON}__alone"


def _schedule(name: str, cron: str, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    running = dg.DefaultScheduleStatus.RUNNING
    return dg.ScheduleDefinition(name=f"{name}_schedule", job=job, cron_schedule=cron, default_status=running)
