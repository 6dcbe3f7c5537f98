"""A whole study in a folder, for tests and examples: a table of toy texts, a tiny backbone, a study file."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import yaml

from tunewise.study_file import COMPONENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TABLE, BACKBONE, STUDY = "texts.csv", "tiny", "defs.yaml"


def write_toy_study(folder: Path, variants: Sequence[Any] = ("majority", "tfidf_logistic"), **fields: Any) -> Path:
    """Write a study that runs in seconds on one core, and return its file.

    Args:
        folder: A folder, made if it is missing.
        variants: As a study file holds them; a tiny encoder is written beside the table where one needs a backbone.
        fields: Further fields of the study, instead of ``toy``, one seed and a thread per fit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_table(folder / TABLE)
    study: dict[str, Any] = {
        "name": "toy",
        "data": {"source": TABLE},
        "variants": list(variants),
        "seeds": [0],
        "compute": {"cpus": 1},
    }
    if any(_needs_backbone(variant) for variant in variants):
        from tunewise.testing import tiny_encoder

        tiny_encoder(folder / BACKBONE)
        study["backbones"] = [{"name": BACKBONE, "source": f"path:{BACKBONE}"}]
    path = folder / STUDY
    path.write_text(yaml.safe_dump({"type": COMPONENT, "attributes": study | fields}, sort_keys=False))
    return path


def _write_table(path: Path) -> None:
    from tunewise.testing import toy_split

    split = toy_split()
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for _, part in split.parts():
            rows.writerows([text, split.classes[label]] for text, label in zip(part.texts, part.labels, strict=True))


def _needs_backbone(variant: Any) -> bool:
    from tunewise.methods import catalogue

    name = variant if isinstance(variant, str) else variant["method"]
    return bool(catalogue()[name].needs)
