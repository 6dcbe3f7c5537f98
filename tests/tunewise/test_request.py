"""The key of an outcome: what changes it and what does not."""

from dataclasses import replace

import pytest

from tunewise.code_hash import libraries_of
from tunewise.contracts import Backbone, Device
from tunewise.errors import StudyError
from tunewise.methods import catalogue
from tunewise.request import Effort, Request, versions_of
from tunewise.study import Study
from tunewise.testing import toy_split

CPU = Device("cpu", "float32", 1)
EFFORT = Effort("quick", 1_024, 2)


@pytest.fixture
def backbone(tmp_path):
    """A backbone that nothing opens."""
    return Backbone("tiny", tmp_path, "encoder", "w", "c", "t", "bert", 32, 2, 1_000, 64, "mean", "CC0-1.0")


@pytest.fixture
def forest(backbone):
    """A request of a seeded method on a backbone."""
    method = catalogue()["random_forest"]
    return Request(method, method.settings(), 3, toy_split(), backbone, CPU, EFFORT)


def test_the_key_is_the_same_for_the_same_request(forest):
    """Equal requests built apart share a key."""
    assert replace(forest, split=toy_split()).key == forest.key


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"split": toy_split(seed=1)},
        {"device": replace(CPU, n_threads=2)},
        {"device": replace(CPU, dtype="bfloat16")},
        {"effort": replace(EFFORT, max_train_rows=100)},
        {"effort": replace(EFFORT, epochs=3)},
        {"effort": replace(EFFORT, metric="mcc")},
        {"effort": replace(EFFORT, class_weights="balanced")},
        {"settings": catalogue()["random_forest"].settings(n_trees=10)},
        {"method": catalogue()["xgboost"], "settings": catalogue()["xgboost"].settings()},
    ],
    ids="-".join,
)
def test_what_can_change_a_result_changes_the_key(forest, change):
    """Seed, rows, device, effort, settings and method are all in the key."""
    assert replace(forest, **change).key != forest.key


def test_another_backbone_changes_the_key(forest, backbone):
    """The weights count, the name does not."""
    assert replace(forest, backbone=replace(backbone, weights_sha256="other")).key != forest.key
    assert replace(forest, backbone=replace(backbone, name="renamed")).key == forest.key


def test_what_cannot_change_a_result_does_not_change_the_key(forest):
    """The budget's name, and a limit of rows above what there is, leave the key alone."""
    assert replace(forest, effort=replace(EFFORT, budget="standard")).key == forest.key
    assert replace(forest, effort=replace(EFFORT, max_train_rows=None)).key == forest.key


def test_seeds_of_an_unseeded_method_share_one_outcome(forest):
    """Logistic regression draws nothing, so every seed has the same key and is kept as seed 0."""
    method = catalogue()["logistic_regression"]
    requests = [replace(forest, method=method, settings=method.settings(), seed=seed) for seed in (0, 7)]

    assert requests[0].key == requests[1].key
    assert requests[1].effective_seed == 0


def test_a_newer_library_changes_the_key(forest, monkeypatch):
    """The versions of the libraries a method uses are in the key, those it does not use are not."""
    monkeypatch.setattr("tunewise.request.version", lambda name: "99" if name == "scikit-learn" else "1")
    newer = replace(forest).determinants["versions"]
    monkeypatch.setattr("tunewise.request.version", lambda _: "1")

    assert newer["sklearn"] == "99"
    assert replace(forest).determinants["versions"]["sklearn"] == "1"
    assert "xgboost" not in newer


def test_libraries_are_found_in_the_code():
    """TF-IDF needs scikit-learn and not torch; XGBoost has one version, whichever distribution it comes from."""
    libraries = libraries_of("tunewise.methods.baselines.tfidf_logistic")

    assert "sklearn" in libraries
    assert "torch" not in libraries
    assert list(versions_of(("xgboost", "json"))) == ["xgboost"]


def test_a_study_is_refused_without_the_backbone_it_needs(backbone):
    """The error names variant and backbone; a method that needs none drops the one it is given."""
    study = Study(name="toy", data={"source": "toy.csv", "text": "text", "label": "label"})
    around = {"split": toy_split(), "device": CPU}

    with pytest.raises(StudyError, match=r"knn needs the backbone minilm and none was opened"):
        Request.of(study, study.variant("knn"), 0, backbone=None, **around)
    assert Request.of(study, study.variant("majority"), 0, backbone=backbone, **around).backbone is None
    assert Request.of(study, study.variant("knn"), 1, backbone=backbone, **around).backbone == backbone
