"""k nearest neighbours on frozen features: the training texts closest by cosine vote with their classes.

Nothing is optimised; ``k`` is chosen on development rows. A probability is a class's share of the votes,
so it comes in steps of 1 / k, and a class without a vote has 0. A vote weighs what its class weighs.

Source: Cover & Hart 1967, "Nearest neighbor pattern classification".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from tunewise.classical import FeaturePredictor, choose, embed_of, read_arrays, read_chosen, write_arrays
from tunewise.contracts import Method, Need, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Inputs, Matrix, Runtime
    from tunewise.rng import Rng

FILE = "neighbours.safetensors"
CHUNK_ROWS = 256
"""Texts compared at a time: 256 rows against 100,000 stored ones are 100 MB of similarities."""


class KnnSettings(Settings):
    """Settings of ``knn``."""

    k: list[Annotated[int, Field(gt=0)]] = Field(
        [1, 5, 15, 51, 101],
        min_length=1,
        description="Number of neighbours; the best on development rows is taken, a single one fixes it.",
    )


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Stored texts that vote. Shapes: vectors (n_train, d), labels (n_train,), weights (n_classes,)."""

    vectors: Matrix
    labels: np.ndarray
    weights: np.ndarray
    k: int

    @property
    def n_numbers(self) -> int:
        """Return 0: storing is not training."""
        return 0

    @property
    def n_kept(self) -> int:
        """Return the count of stored vectors' numbers and labels."""
        return self.vectors.size + self.labels.size

    def probabilities(self, features: Matrix) -> Matrix:
        """Return the shares of the votes. Shapes: (n, d) -> (n, n_classes), float32."""
        shares = np.empty((len(features), len(self.weights)), dtype=np.float32)
        for start in range(0, len(features), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            shares[rows] = self._votes(self._nearest(features[rows]))
        return shares

    def _nearest(self, features: Matrix) -> np.ndarray:
        """Return indices of the nearest stored texts. Shapes: (n, d) -> (n, k)."""
        similarities = features @ self.vectors.T
        k = min(self.k, len(self.labels))
        return np.argpartition(-similarities, k - 1, axis=1)[:, :k]

    def _votes(self, nearest: np.ndarray) -> np.ndarray:
        n, n_classes = len(nearest), len(self.weights)
        labels = self.labels[nearest]
        cells = (np.arange(n)[:, None] * n_classes + labels).ravel()
        votes = np.bincount(cells, weights=self.weights[labels].ravel(), minlength=n * n_classes).reshape(n, n_classes)
        return votes / votes.sum(axis=1, keepdims=True)

    def save(self, folder: Path) -> None:
        """Write vectors, labels, weights and k."""
        arrays = {"vectors": self.vectors, "labels": self.labels, "weights": self.weights, "k": np.array([self.k])}
        write_arrays(arrays, folder / FILE)


def fit(inputs: Inputs, settings: KnnSettings, *, rng: Rng) -> FeaturePredictor:  # noqa: ARG001 - nothing is drawn
    """Store the training features and choose ``k``; a ``k`` above the number of training rows takes them all."""
    embed = embed_of(inputs.runtime)
    stored = Neighbours(embed(inputs.train.texts), inputs.train.labels, inputs.class_weights.astype(np.float64), settings.k[0])

    def fit_with(k: int) -> Neighbours:
        return replace(stored, k=k)

    k, classifier = choose("k", settings.k, fit_with, embed(inputs.development.texts), inputs)
    return FeaturePredictor(classifier, inputs.runtime, {"k": k})


def load(folder: Path, runtime: Runtime) -> FeaturePredictor:
    """Read the stored texts' vectors and labels."""
    arrays = read_arrays(folder / FILE)
    k = int(arrays.pop("k")[0])
    return FeaturePredictor(Neighbours(**arrays, k=k), runtime, read_chosen(folder))


METHOD = Method(
    settings=KnnSettings,
    fit=fit,
    load=load,
    trains="nothing; keeps the training features",
    source="Cover & Hart 1967",
    needs=frozenset({Need.EMBEDDINGS}),
    is_seeded=False,
)
