"""The labelled texts and their split, with what the audit says of both."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from assets import metadata, pages
from assets.keys import DATA_GROUP, DATASET, OWNERS, SPLIT
from assets.retries import RETRIES, only_what_may_pass
from resources.artifact_store import ArtifactStore
from resources.model_store import ModelStore
from tunewise.artifacts import ArtifactRef
from tunewise.code_hash import code_sha256
from tunewise.contracts import Backbone, Progress
from tunewise.data.findings import BLOCKING, CHECKS, Finding
from tunewise.errors import TunewiseError
from tunewise.steps import (
    audit_split,
    limiting_backbone,
    prepare_dataset,
    read_stored_dataset,
    read_stored_split,
    split_dataset,
)
from tunewise.study import Study


def dataset_asset(study: Study, base: Path) -> dg.AssetsDefinition:
    """Return the asset of the labelled rows of ``study``, whose relative paths start from ``base``."""

    @dg.asset(
        key=[study.name, DATASET],
        group_name=DATA_GROUP,
        description=study.description or "Labelled texts, read from the study's tables.",
        kinds={"parquet"},
        owners=OWNERS,
        code_version=code_sha256("tunewise.data.dataset")[:12],
        retry_policy=RETRIES,
    )
    def dataset(context: dg.AssetExecutionContext, store: ArtifactStore, progress: dg.ResourceParam[Any]) -> ArtifactRef:
        with only_what_may_pass(context):
            reference = prepare_dataset(store.workplace(study, base, progress))
            context.add_output_metadata(metadata.of_dataset(read_stored_dataset(reference)))
            return reference

    return dataset


def split_asset(study: Study, base: Path) -> dg.AssetsDefinition:
    """Return the asset that sides every row, and its audit as checks."""
    key = dg.AssetKey([study.name, SPLIT])

    @dg.asset(
        key=key,
        ins={"dataset": dg.AssetIn([study.name, DATASET])},
        group_name=DATA_GROUP,
        description="Training, development and test rows. Appending rows moves none; duplicates stay together.",
        kinds={"parquet"},
        owners=OWNERS,
        code_version=code_sha256("tunewise.data.split")[:12],
        retry_policy=RETRIES,
        check_specs=[
            dg.AssetCheckSpec(name, asset=key, description=what, blocking=name in BLOCKING) for name, what in CHECKS.items()
        ],
    )
    def split(
        context: dg.AssetExecutionContext,
        store: ArtifactStore,
        models: ModelStore,
        progress: dg.ResourceParam[Any],
        dataset: ArtifactRef,
    ) -> Iterator[dg.Output[ArtifactRef] | dg.AssetCheckResult]:
        place = store.workplace(study, base, progress)
        with only_what_may_pass(context):
            reference = split_dataset(place, dataset)
            sided = metadata.of_split(read_stored_split(reference))
        yield dg.Output(reference, metadata=sided)
        with only_what_may_pass(context):
            backbone, why_none = _limiting(study, base, models, progress)
            findings = audit_split(place, dataset, reference, backbone, why_none=why_none)
        for finding in findings:
            yield _as_check(finding, key)

    return split


def _limiting(study: Study, base: Path, models: ModelStore, progress: Progress) -> tuple[Backbone | None, str]:
    """Return the backbone that limits the texts' lengths, or why it cannot be had: that fails its own variants alone."""
    name = limiting_backbone(study)
    try:
        return (models.open(study, base, name, progress) if name else None), ""
    except TunewiseError as error:
        return None, f"backbone {name} cannot be had. {error}"


def _as_check(finding: Finding, key: dg.AssetKey) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.ERROR if finding.is_blocking else dg.AssetCheckSeverity.WARN
    rows = {"rows": pages.table(finding.rows)} if finding.rows else {}
    return dg.AssetCheckResult(
        passed=finding.passed,
        asset_key=key,
        check_name=finding.name,
        description=finding.message,
        severity=severity,
        metadata=rows,
    )
