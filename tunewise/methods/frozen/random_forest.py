"""Random forest on frozen features: trees on resampled rows, each cut chosen among random features.

The forest is kept as plain arrays of its nodes, walked by code of our own: a stored one needs neither
pickle nor the library version that grew it, and answers bit for bit as the fitted one. Rows are drawn for a
tree in proportion to their class's weight.

Source: Breiman 2001, "Random forests".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from tunewise.classical import (
    FeaturePredictor,
    choose,
    embed_of,
    present_classes,
    read_arrays,
    read_chosen,
    row_weights,
    spread,
    write_arrays,
)
from tunewise.contracts import Method, Need, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Inputs, Matrix, Runtime
    from tunewise.rng import Rng

FILE = "forest.safetensors"
CHUNK_ROWS = 1_024
"""Texts walked at a time: 1,024 texts in 100 trees are 100,000 positions, a few megabytes."""


class RandomForestSettings(Settings):
    """Settings of ``random_forest``."""

    n_trees: int = Field(100, gt=0, description="Number of trees.")
    min_leaf: list[Annotated[int, Field(gt=0)]] = Field(
        [1, 5],
        min_length=1,
        description="Fewest training rows in a leaf; the best on development rows is taken, a single one fixes it.",
    )


@dataclass(frozen=True, eq=False)
class Forest:
    """The nodes of all trees, one after the other. A leaf is its own child on both sides.

    Shapes:
        roots: (n_trees,), indices of nodes.
        feature, threshold, left, right: (n_nodes,); a row goes left where its feature is at most the threshold.
        share, of_class: (n_shares,); ends: (n_nodes + 1,). Node ``i`` holds the shares ``ends[i]`` to ``ends[i + 1]``.
        present: (n_present,), the classes that have training rows.
    """

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    share: np.ndarray
    of_class: np.ndarray
    ends: np.ndarray
    present: np.ndarray
    n_classes: int

    @property
    def n_numbers(self) -> int:
        """Return the number of nodes: each holds one fitted decision, a cut or a class distribution."""
        return self.feature.size

    @property
    def n_kept(self) -> int:
        """Return the same."""
        return self.n_numbers

    def leaves(self, features: Matrix) -> np.ndarray:
        """Return the leaf each row ends in, by tree. Shapes: (n, d) -> (n, n_trees)."""
        rows = np.arange(len(features))[:, None]
        node = np.tile(self.roots, (len(features), 1))
        while True:
            goes_left = features[rows, self.feature[node]] <= self.threshold[node]
            child = np.where(goes_left, self.left[node], self.right[node])
            if np.array_equal(child, node):
                return node
            node = child

    def probabilities(self, features: Matrix) -> Matrix:
        """Return the mean of the leaves' class shares. Shapes: (n, d) -> (n, n_classes), float32."""
        from scipy.sparse import csr_array

        n_trees = len(self.roots)
        shares: Any = csr_array((self.share, self.of_class, self.ends), shape=(len(self.feature), len(self.present)))
        means = np.empty((len(features), len(self.present)))
        for start in range(0, len(features), CHUNK_ROWS):
            leaves = self.leaves(features[start : start + CHUNK_ROWS])
            ends = np.arange(0, leaves.size + 1, n_trees)
            visits = csr_array((np.ones(leaves.size), leaves.ravel(), ends), shape=(len(leaves), len(self.feature)))
            means[start : start + CHUNK_ROWS] = (visits @ shares).toarray()
        return spread(means / means.sum(axis=1, keepdims=True), self.present, self.n_classes)

    def save(self, folder: Path) -> None:
        """Write the arrays."""
        arrays = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        write_arrays({**arrays, "n_classes": np.array([self.n_classes])}, folder / FILE)

    @classmethod
    def of(cls, trees: list[Any], present: np.ndarray, n_classes: int) -> Forest:
        """Return the forest of fitted scikit-learn trees."""
        starts = np.concatenate([[0], np.cumsum([tree.node_count for tree in trees])]).astype(np.int32)
        itself = np.arange(starts[-1], dtype=np.int32)
        is_leaf = np.concatenate([tree.children_left for tree in trees]) < 0
        left, right = (
            np.concatenate([getattr(tree, f"children_{side}") + start for tree, start in zip(trees, starts, strict=False)])
            for side in ("left", "right")
        )
        share, of_class, ends = _leaf_shares(trees)
        return cls(
            roots=starts[:-1],
            feature=np.where(is_leaf, 0, np.concatenate([tree.feature for tree in trees])).astype(np.int32),
            threshold=np.concatenate([tree.threshold for tree in trees]),
            left=np.where(is_leaf, itself, left).astype(np.int32),
            right=np.where(is_leaf, itself, right).astype(np.int32),
            share=share,
            of_class=of_class,
            ends=ends,
            present=present,
            n_classes=n_classes,
        )


def _leaf_shares(trees: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the classes with a share in each leaf. Most leaves hold one of them, so the others are not stored."""
    from scipy.sparse import csr_array, vstack

    blocks = []
    for tree in trees:
        shares = tree.value[:, 0, :] * (tree.children_left < 0)[:, None]
        blocks.append(csr_array(shares))
    stacked = csr_array(vstack(blocks))
    return stacked.data.astype(np.float64), stacked.indices.astype(np.int32), stacked.indptr.astype(np.int64)


def fit(inputs: Inputs, settings: RandomForestSettings, *, rng: Rng) -> FeaturePredictor:
    """Grow a forest for each ``min_leaf`` and keep the best on development rows.

    Raises:
        FitError: If the training rows hold fewer than two classes.
    """
    embed = embed_of(inputs.runtime)
    features = embed(inputs.train.texts)

    def fit_with(min_leaf: int) -> Forest:
        return _fit(features, inputs, settings.n_trees, min_leaf, rng)

    min_leaf, classifier = choose("min_leaf", settings.min_leaf, fit_with, embed(inputs.development.texts), inputs)
    return FeaturePredictor(classifier, inputs.runtime, {"min_leaf": min_leaf})


def _fit(features: Matrix, inputs: Inputs, n_trees: int, min_leaf: int, rng: Rng) -> Forest:
    from sklearn.ensemble import RandomForestClassifier

    present, positions = present_classes(inputs.train.labels)
    # Every tree's seed is drawn before any tree grows, so threads change the time and not the forest.
    model = RandomForestClassifier(
        n_trees,
        min_samples_leaf=min_leaf,
        n_jobs=inputs.runtime.device.n_threads,
        random_state=rng.child("forest").seed,
    )
    model.fit(features, positions, sample_weight=row_weights(inputs))
    return Forest.of([tree.tree_ for tree in model.estimators_], present, len(inputs.classes))


def load(folder: Path, runtime: Runtime) -> FeaturePredictor:
    """Read the nodes."""
    arrays = read_arrays(folder / FILE)
    n_classes = int(arrays.pop("n_classes")[0])
    return FeaturePredictor(Forest(**arrays, n_classes=n_classes), runtime, read_chosen(folder))


METHOD = Method(
    settings=RandomForestSettings,
    fit=fit,
    load=load,
    trains="trees on frozen features",
    source="Breiman 2001",
    needs=frozenset({Need.EMBEDDINGS}),
    badges=frozenset({"scikitlearn"}),
)
