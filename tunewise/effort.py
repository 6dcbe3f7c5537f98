"""What a study's budget and class weights make of the training rows."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from tunewise.contracts import Part

WeightRule: TypeAlias = Literal["none", "balanced"]


def affordable(part: Part, max_rows: int | None) -> Part:
    """Return the rows of ``part`` that a budget pays for, in their order: those whose id hashes lowest.

    No seed and no position enters, so every variant trains on the same rows, and appended rows displace
    as few of them as possible.

    Args:
        part: Training rows.
        max_rows: Most rows; all of them if none.
    """
    if max_rows is None or len(part) <= max_rows:
        return part
    order = sorted(range(len(part)), key=lambda i: (hashlib.sha256(part.ids[i].encode()).digest(), i))
    return part.take(np.sort(order[:max_rows]))


def class_weights(rule: WeightRule, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the weight of each class in the training loss. Shapes: (n,) -> (n_classes,), float32.

    ``balanced`` gives class ``i`` the weight ``n / (k * count_i)``, with ``k`` the classes that have rows, so
    that each of them weighs the same in sum and the mean row weighs 1. A class without rows has weight 1.

    Source: King & Zeng 2001, "Logistic Regression in Rare Events Data", section 4.2.
    """
    weights = np.ones(n_classes, dtype=np.float32)
    if rule == "balanced":
        counts = np.bincount(labels, minlength=n_classes)
        has_rows = counts > 0
        weights[has_rows] = len(labels) / (has_rows.sum() * counts[has_rows])
    return weights
