"""Boosted trees: early stopping, the sum of the trees, and what does not change them."""

import importlib.metadata
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tunewise.contracts import Device
from tunewise.errors import FitError
from tunewise.methods.frozen.xgboost import FILE, XgboostSettings, _grown_on, fit, load
from tunewise.rng import Rng

SMALL = XgboostSettings(max_rounds=30, patience=3, learning_rate=0.3)


def test_one_stump_by_hand(inputs_of):
    """One round, rate 1, no first guess to move (classes are even): each leaf is -G / (H + 1) with G = -+4/2, H = 4/4.

    The leaf of the four rows of class 1 is 2 / (1 + 1) = 1, so its probability is 1 / (1 + exp(-1)).
    """
    inputs = inputs_of([[1, 0]] * 4 + [[0, 1]] * 4, [0] * 4 + [1] * 4)
    one_round = XgboostSettings(max_rounds=1, learning_rate=1.0, subsample=1.0, features_per_tree=1.0)
    probabilities = fit(inputs, one_round, rng=Rng(0)).predict(["0,1", "1,0"])

    assert probabilities[:, 1] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))], abs=1e-6)


def test_rounds_after_the_best_are_cut_off(inputs_of, clusters):
    """As many rounds are kept as the curve's lowest development loss has."""
    inputs = inputs_of(**clusters)
    predictor = fit(inputs, SMALL, rng=Rng(0))
    losses = [step["development_log_loss"] for step in inputs.monitor.curve]

    assert predictor.chosen["n_rounds"] == predictor.classifier.booster.num_boosted_rounds() == int(np.argmin(losses)) + 1
    assert len(losses) == predictor.chosen["n_rounds"] + 3


def test_many_classes_get_fewer_rounds(inputs_of, clusters):
    """Nine trees in all are three rounds of three classes."""
    settings = replace_settings(SMALL, max_trees=9)

    assert fit(inputs_of(**clusters), settings, rng=Rng(0)).chosen["n_rounds"] <= 3


def replace_settings(settings, **changes):
    """Return settings with some values changed."""
    return type(settings)(**{**settings.model_dump(), **changes})


def test_a_class_without_training_rows_gets_zero(inputs_of):
    """Development rows of such a class are left out of early stopping, not refused."""
    inputs = inputs_of([[1, 0], [0, 1]] * 8, [0, 2] * 8, [[1, 0], [0, 1]], [0, 1], n_classes=3)
    probabilities = fit(inputs, SMALL, rng=Rng(0)).predict(["1,0"])

    assert probabilities[0, 1] == 0
    assert probabilities[0].argmax() == 0


def test_threads_do_not_change_the_trees(inputs_of, clusters, monkeypatch):
    """One thread and two boost equal trees, so a large matrix may be given to all of them."""
    monkeypatch.setattr("tunewise.methods.frozen.xgboost.ONE_THREAD_NUMBERS", 0)
    inputs = inputs_of(**clusters)
    device = replace(inputs.runtime.device, n_threads=2)
    of_two = replace(inputs, runtime=replace(inputs.runtime, device=device))

    one, two = (fit(each, SMALL, rng=Rng(0)).predict(inputs.development.texts) for each in (inputs, of_two))
    assert np.array_equal(one, two)


def test_nodes_are_counted(inputs_of, clusters, tmp_path):
    """The number of trained numbers is that of the nodes in the stored trees."""
    predictor = fit(inputs_of(**clusters), SMALL, rng=Rng(0))
    predictor.classifier.booster.save_model(tmp_path / "trees.json")
    trees = json.loads((tmp_path / "trees.json").read_text())["learner"]["gradient_booster"]["model"]["trees"]

    assert predictor.n_trained_parameters == sum(int(tree["tree_param"]["num_nodes"]) for tree in trees)


def test_stored_trees_answer_the_same(inputs_of, clusters, tmp_path):
    """The binary format keeps every bit."""
    inputs = inputs_of(**clusters)
    predictor = fit(inputs, SMALL, rng=Rng(0))
    predictor.save(tmp_path)

    assert (tmp_path / FILE).suffix == ".ubj"
    assert np.array_equal(load(tmp_path, inputs.runtime).predict(["0", "1"]), predictor.predict(["0", "1"]))


def test_two_distributions_are_refused(inputs_of, clusters, monkeypatch):
    """The error says which one belongs where."""
    both = [SimpleNamespace(metadata={"Name": name}) for name in ("xgboost", "xgboost-cpu")]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: both)

    with pytest.raises(FitError, match=r"Both xgboost and xgboost-cpu are installed .* Uninstall both, then install one"):
        fit(inputs_of(**clusters), SMALL, rng=Rng(0))


@pytest.mark.parametrize(
    ("kind", "is_built_for_gpus", "place"), [("cuda", True, "cuda"), ("cuda", False, "cpu"), ("cpu", True, "cpu")]
)
def test_trees_grow_on_the_gpu_where_device_and_build_allow(kind, is_built_for_gpus, place):
    """A GPU without the GPU build, or the build without a GPU, grows trees on the CPU."""
    library = SimpleNamespace(build_info=lambda: {"USE_CUDA": is_built_for_gpus})

    assert _grown_on(library, Device(kind, "float32", 1)) == place
