"""Features made by hand, so that a frozen method is tested without a backbone."""

from dataclasses import replace

import numpy as np
import pytest

from tunewise.contracts import Part
from tunewise.testing import toy_inputs


@pytest.fixture
def inputs_of(tmp_path):
    """Return what makes inputs of feature rows: text ``i`` stands for row ``i`` of the matrix."""

    def make(train, labels, development=None, development_labels=None, *, n_classes=2, weights=None):
        train = np.array(train, dtype=np.float32)
        development = train if development is None else np.array(development, dtype=np.float32)
        rows = np.vstack([train, development])
        development_labels = labels if development_labels is None else development_labels
        plain = toy_inputs(tmp_path)
        n = len(train)

        def embed(texts):
            return np.vstack(
                [rows[int(text)] if text.isdigit() else np.array(text.split(","), dtype=np.float32) for text in texts]
            )

        return replace(
            plain,
            classes=tuple(f"class_{i}" for i in range(n_classes)),
            train=part(range(n), labels),
            development=part(range(n, len(rows)), development_labels),
            runtime=replace(plain.runtime, embed=embed),
            class_weights=np.array(weights if weights is not None else np.ones(n_classes), dtype=np.float32),
        )

    return make


def part(numbers, labels):
    """Return rows whose text is their number."""
    names = tuple(str(number) for number in numbers)
    return Part(names, names, np.array(labels, dtype=np.int64))


@pytest.fixture
def clusters():
    """Return 3 noisy clusters of 40 training and 20 development rows in 6 dimensions, as arguments of ``inputs_of``."""
    rng = np.random.default_rng(0)
    centres = np.eye(6)[:3]
    labels = np.arange(180) % 3
    rows = centres[labels] + rng.normal(scale=0.5, size=(180, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return {
        "train": rows[:120],
        "labels": labels[:120],
        "development": rows[120:],
        "development_labels": labels[120:],
        "n_classes": 3,
    }
