"""The code location: every study in the studies folders, and what all of them stand on."""

import os

import dagster as dg

from assets.broken import broken_study_asset
from pipelines.executors import executor
from pipelines.launch import equip_children
from pipelines.schedules import comparison_job, study_definitions
from pipelines.sensors import comparison_after_any_variant, comparison_after_failure
from pipelines.study_folders import BrokenStudy, FoundStudy, find_studies, study_folders
from resources.artifact_store import ArtifactStore, References
from resources.model_store import ModelStore
from resources.reporter import LoggedProgress
from resources.tracker import MlflowTracker
from tunewise.errors import TunewiseError
from tunewise.home import Home
from tunewise.privacy import silence_reports


def resources(home: Home) -> dict[str, object]:
    """Return what the assets of every study are given.

    Args:
        home: The folder everything is kept in.
    """
    root = str(home.root)
    return {
        "store": ArtifactStore(root=root),
        "models": ModelStore(root=root),
        "tracker": MlflowTracker(root=root),
        "progress": LoggedProgress(),
        "io_manager": References(root=root),
    }


@dg.definitions
def defs() -> dg.Definitions:
    """Return all studies; a broken one is an asset that fails with its error, and takes no other with it."""
    silence_reports()
    equip_children()
    found, broken = find_studies(study_folders())
    parts: list[dg.Definitions] = []
    whole: list[str] = []
    for one in found:
        try:
            parts.append(study_definitions(one.study, one.path.parent))
            whole.append(one.study.name)
        except (TunewiseError, dg.DagsterError) as error:
            broken.append(_refused(one, error))
    failing = [broken_study_asset(one.name, one.path, one.message) for one in broken]
    comparisons = {name: comparison_job(name) for name in whole}
    sensors = [comparison_after_failure(comparisons), comparison_after_any_variant(whole)] if whole else []
    around = dg.Definitions(assets=failing, sensors=sensors, resources=resources(Home.default()), executor=executor(os.environ))
    return dg.Definitions.merge(*parts, around)


def _refused(one: FoundStudy, error: Exception) -> BrokenStudy:
    return BrokenStudy(one.path, one.study.name, f"{one.path}: {error}")
