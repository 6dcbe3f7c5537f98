"""What the outcomes say: the asset at the end of every study."""

from pathlib import Path
from typing import Any

import dagster as dg

from assets import metadata
from assets.keys import COMPARISON, COMPARISON_GROUP, OWNERS, SPLIT
from resources.artifact_store import ArtifactStore
from resources.model_store import ModelStore
from tunewise.artifacts import ArtifactRef
from tunewise.code_hash import code_sha256
from tunewise.contracts import Backbone, Progress
from tunewise.errors import TunewiseError
from tunewise.steps import compare, used_backbones
from tunewise.study import Study

AFTER_ANY_VARIANT = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
).with_label("after any variant")
"""A variant that was fitted by itself makes the comparison due; it costs seconds. Nothing that fits starts so."""


def comparison_asset(study: Study, base: Path) -> dg.AssetsDefinition:
    """Return the asset that compares the outcomes there are.

    It reads no variant's result but the outcomes themselves, so that it can be run while some have none.

    Args:
        study: The study.
        base: The folder that its relative paths start from.
    """

    @dg.asset(
        key=[study.name, COMPARISON],
        deps=[[study.name, SPLIT], *([study.name, variant.name] for variant in study.planned())],
        group_name=COMPARISON_GROUP,
        description="Which variant to use, at what cost: ranks with intervals, costs, errors. Names what failed or never ran.",
        kinds={"html", "markdown"},
        owners=OWNERS,
        code_version=code_sha256("tunewise.verdict")[:12],
        automation_condition=AFTER_ANY_VARIANT,
    )
    def comparison(
        context: dg.AssetExecutionContext,
        store: ArtifactStore,
        models: ModelStore,
        tracker: dg.ResourceParam[Any],
        progress: dg.ResourceParam[Any],
    ) -> ArtifactRef:
        place = store.workplace(study, base, progress)
        verdict, reference = compare(place, _opened(study, base, models, progress))
        link = (
            tracker.log_page(study, verdict.standings[0].outcomes[0].split_sha256, reference.folder, metadata.figures_of(verdict))
            if verdict.standings
            else None
        )
        context.add_output_metadata(
            metadata.of_verdict(verdict, reference) | ({"mlflow": dg.MetadataValue.url(link)} if link else {})
        )
        return reference

    return comparison


def _opened(study: Study, base: Path, models: ModelStore, progress: Progress) -> dict[str, Backbone]:
    """Return the backbones that can be had; what cannot be had has failed its variants already."""
    found = {}
    for name in used_backbones(study.planned()):
        try:
            found[name] = models.open(study, base, name, progress)
        except TunewiseError:
            continue
    return found
