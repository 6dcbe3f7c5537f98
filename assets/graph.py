"""One study as one asset graph."""

from pathlib import Path

import dagster as dg

from assets.adapted import adapted_asset
from assets.comparison import comparison_asset
from assets.dataset import dataset_asset, split_asset
from assets.embeddings import embeddings_asset
from tunewise.study import Study


def study_assets(study: Study, base: Path) -> list[dg.AssetsDefinition]:
    """Return every asset of ``study``: data, split, features, one per variant, comparison.

    Args:
        study: The study.
        base: The folder that its relative paths start from.
    """
    return [
        dataset_asset(study, base),
        split_asset(study, base),
        *(embeddings_asset(study, base, name) for name in study.embedded_backbones),
        *(adapted_asset(study, base, variant) for variant in study.planned()),
        comparison_asset(study, base),
    ]
