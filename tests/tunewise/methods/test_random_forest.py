"""The forest: our walk over its nodes against the library's, and what does not change it."""

from dataclasses import replace

import numpy as np
import pytest

from tunewise.methods.frozen.random_forest import Forest, RandomForestSettings, fit
from tunewise.rng import Rng

SMALL = RandomForestSettings(n_trees=15, min_leaf=[1])


def test_one_cut_by_hand():
    """A root that cuts feature 1 at 0.5: at most goes left to (3/4, 1/4), above goes right to (0, 1)."""
    forest = Forest(
        roots=np.array([0]),
        feature=np.array([1, 0, 0]),
        threshold=np.array([0.5, -2.0, -2.0]),
        left=np.array([1, 1, 2]),
        right=np.array([2, 1, 2]),
        share=np.array([0.75, 0.25, 1.0]),
        of_class=np.array([0, 1, 1]),
        ends=np.array([0, 0, 2, 3]),
        present=np.arange(2),
        n_classes=2,
    )

    assert forest.probabilities(np.array([[9, 0.5], [9, 0.6]], dtype=np.float32)).tolist() == [[0.75, 0.25], [0, 1]]
    assert forest.n_numbers == 3


@pytest.mark.parametrize("min_leaf", [1, 5])
def test_the_library_s_forest_answers_the_same(inputs_of, clusters, min_leaf):
    """Pure and mixed leaves: our walk gives scikit-learn's mean probabilities."""
    from sklearn.ensemble import RandomForestClassifier

    inputs = inputs_of(**clusters)
    rng = Rng(3)
    witness = RandomForestClassifier(15, min_samples_leaf=min_leaf, random_state=rng.child("forest").seed)
    witness.fit(clusters["train"].astype(np.float32), clusters["labels"], sample_weight=np.ones(120))
    ours = fit(inputs, RandomForestSettings(n_trees=15, min_leaf=[min_leaf]), rng=rng).predict(inputs.development.texts)

    assert ours == pytest.approx(witness.predict_proba(clusters["development"].astype(np.float32)), abs=1e-6)


def test_threads_do_not_change_the_forest(inputs_of, clusters):
    """One thread and two grow equal trees."""
    inputs = inputs_of(**clusters)
    device = replace(inputs.runtime.device, n_threads=2)
    of_two = replace(inputs, runtime=replace(inputs.runtime, device=device))

    one, two = (fit(each, SMALL, rng=Rng(0)).predict(inputs.development.texts) for each in (inputs, of_two))
    assert np.array_equal(one, two)


def test_the_seed_grows_another_forest(inputs_of, clusters):
    """Seeds 0 and 1 differ, so rows over seeds show a spread."""
    inputs = inputs_of(**clusters)
    zero, one = (fit(inputs, SMALL, rng=Rng(seed)).predict(inputs.development.texts) for seed in (0, 1))

    assert not np.array_equal(zero, one)
