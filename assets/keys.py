"""Names of a study's assets."""

from tunewise.study import Study

OWNERS = ["team:tunewise"]

DATASET, SPLIT, COMPARISON = "dataset", "split", "comparison"

DATA_GROUP, COMPARISON_GROUP = "data", "comparison"


def embeddings_of(study: Study, backbone: str) -> str:
    """Return the asset of a backbone's frozen features; the first backbone that has one adds no name to it."""
    return "embeddings" if backbone == study.embedded_backbones[0] else f"embeddings_{backbone}"
