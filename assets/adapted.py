"""One asset per variant, whatever its method: fits every seed and keeps what came of it."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from assets import metadata
from assets.keys import OWNERS, SPLIT, embeddings_of
from assets.launchpad import launchpad, settings_of
from assets.retries import RETRIES, only_what_may_pass
from resources.artifact_store import ArtifactStore
from resources.compute import limit_of, op_tags, pool_of
from resources.model_store import ModelStore
from tunewise.artifacts import ArtifactRef
from tunewise.code_hash import code_sha256
from tunewise.contracts import Backbone
from tunewise.errors import words_of
from tunewise.methods import module_of
from tunewise.steps import Fits, Workplace, fit_variant, note_failure, takes_features
from tunewise.study import Study, Variant

PRIORITY_TAG = "dagster/priority"

UNKEPT = (
    "DAGSTER_HOME is not set: Dagster keeps this run in a temporary place, so its pages will not show it, and pools limit "
    "nothing, so fits may disturb one another. `tunewise launch SELECTION` sets it; so can you."
)
UNLIMITED = (
    "Nothing limits the pool {pool!r} in this Dagster instance, so fits may share a device and disturb one another. "
    "`dagster instance concurrency set {pool} 1` limits it; so does `tunewise launch`, in its own instance."
)


def adapted_asset(study: Study, base: Path, variant: Variant) -> dg.AssetsDefinition:
    """Return the asset that fits ``variant`` on every seed of ``study``.

    Args:
        study: The study.
        base: The folder that its relative paths start from.
        variant: One of its variants.
    """
    form = launchpad(variant)

    @dg.asset(
        key=[study.name, variant.name],
        ins={"split": dg.AssetIn([study.name, SPLIT])},
        deps=[[study.name, embeddings_of(study, str(variant.backbone))]] if takes_features(variant) else [],
        group_name=variant.method.family,
        description=_description(variant),
        kinds=set(variant.method.badges) or {"python"},
        owners=OWNERS,
        tags={"method": variant.method.name, "family": variant.method.family},
        code_version=code_sha256(module_of(variant.method))[:12],
        pool=pool_of(variant.compute),
        op_tags=op_tags(variant.compute) | {PRIORITY_TAG: str(-_position(study, variant))},
        retry_policy=RETRIES,
    )
    def adapted(  # noqa: PLR0913, PLR0917 - Dagster hands over each resource by its name
        context: dg.AssetExecutionContext,
        config: form,  # pyright: ignore[reportInvalidTypeForm] - Dagster reads the form from the annotation
        store: ArtifactStore,
        models: ModelStore,
        tracker: dg.ResourceParam[Any],
        progress: dg.ResourceParam[Any],
        split: ArtifactRef,
    ) -> ArtifactRef:
        _warn(context, variant)
        place = store.workplace(study, base, progress)
        with only_what_may_pass(context):
            # Settings that are refused were typed for this run alone; what the study declares has not failed by them.
            asked = replace(variant, settings=settings_of(variant, config))
            fits = fit_variant(place, asked, split, _backbone(place, variant, models))
            link = tracker.log_rows(study, fits.rows, _origin(context)) if fits.rows else None
            context.add_output_metadata(metadata.of_fits(fits, link))
            return _whole(variant, fits, link)

    return adapted


def _warn(context: dg.AssetExecutionContext, variant: Variant) -> None:
    """Say in the log what does not hold in an instance that is not the home folder's own."""
    pool = pool_of(variant.compute)
    if "DAGSTER_HOME" not in os.environ:
        context.log.warning(UNKEPT)
    elif pool is not None and limit_of(pool, context.instance) is None:
        context.log.warning(UNLIMITED.format(pool=pool))


def _backbone(place: Workplace, variant: Variant, models: ModelStore) -> Backbone | None:
    """Return the variant's backbone; where it cannot be had, the comparison is to say so."""
    if not variant.backbone:
        return None
    try:
        return models.open(place.study, place.base, variant.backbone, place.progress)
    except Exception as error:
        note_failure(place, variant, words_of(error))
        raise


def _position(study: Study, variant: Variant) -> int:
    """Return the variant's place in the plan; of steps that could start, the first in the plan starts first."""
    return [planned.name for planned in study.planned()].index(variant.name)


def _description(variant: Variant) -> str:
    changed = variant.settings.changed()
    settings = "".join(f"\n- `{name}`: {value}" for name, value in changed.items())
    backbone = f" Backbone: {variant.backbone}." if variant.backbone else ""
    return f"{variant.method.summary}\n\nTrains {variant.method.trains}.{backbone} Source: {variant.method.source}." + (
        f"\n\nSettings that differ from the defaults:\n{settings}" if settings else ""
    )


def _origin(context: dg.AssetExecutionContext) -> dict[str, str]:
    """Return the tags that lead from an MLflow run back to here."""
    return {
        "dagster.run_id": context.run.run_id,
        "dagster.asset_key": context.asset_key.to_user_string(),
        "dagster.retry": str(context.retry_number),
    }


def _whole(variant: Variant, fits: Fits, link: str | None) -> ArtifactRef:
    """Return the reference where every seed has an outcome.

    Raises:
        dagster.Failure: Naming the seeds that have none; the outcomes of the others are kept and compared.
    """
    if fits.missing or fits.reference is None:
        reasons = "\n".join(f"seed {one.seed}: {one.message}" for one in fits.missing)
        raise dg.Failure(
            f"{variant.name} has no outcome for {len(fits.missing)} seeds.\n{reasons}",
            metadata=metadata.of_fits(fits, link),
            allow_retries=False,
        )
    return fits.reference
