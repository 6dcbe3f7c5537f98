"""Frozen features of a backbone, kept row by row so that only new rows are ever computed."""

from pathlib import Path
from typing import Any

import dagster as dg

from assets import metadata
from assets.keys import DATA_GROUP, OWNERS, SPLIT, embeddings_of
from assets.retries import RETRIES, only_what_may_pass
from resources.artifact_store import ArtifactStore
from resources.compute import op_tags, pool_of
from resources.model_store import ModelStore
from tunewise.artifacts import ArtifactRef
from tunewise.code_hash import code_sha256
from tunewise.steps import embed_split, read_stored_report
from tunewise.study import Study


def embeddings_asset(study: Study, base: Path, backbone: str) -> dg.AssetsDefinition:
    """Return the asset that fills the row cache with the features of one backbone.

    Args:
        study: The study.
        base: The folder that its relative paths start from.
        backbone: The backbone's name in it.
    """

    @dg.asset(
        key=[study.name, embeddings_of(study, backbone)],
        ins={"split": dg.AssetIn([study.name, SPLIT])},
        group_name=DATA_GROUP,
        description=f"Pooled features of `{backbone}`. Rows that were computed before are taken from the cache.",
        kinds={"pytorch", "parquet"},
        owners=OWNERS,
        code_version=code_sha256("tunewise.features")[:12],
        pool=pool_of(study.compute),
        op_tags=op_tags(study.compute),
        retry_policy=RETRIES,
    )
    def embeddings(
        context: dg.AssetExecutionContext,
        store: ArtifactStore,
        models: ModelStore,
        progress: dg.ResourceParam[Any],
        split: ArtifactRef,
    ) -> ArtifactRef:
        with only_what_may_pass(context):
            opened = models.open(study, base, backbone, progress)
            reference = embed_split(store.workplace(study, base, progress), split, opened)
            context.add_output_metadata(metadata.of_report(read_stored_report(reference)))
            return reference

    return embeddings
