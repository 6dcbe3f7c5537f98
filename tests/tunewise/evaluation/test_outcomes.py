"""Outcomes on disk come back as they were, and what has none is named with its reason."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from tunewise.artifacts import new_folder
from tunewise.contracts import Device
from tunewise.errors import ArtifactError
from tunewise.evaluation.outcomes import (
    KIND,
    Place,
    folder_of,
    latest_rows,
    point_to,
    point_to_failure,
    read_outcome,
    write_outcome,
)
from tunewise.outcome import Missing
from tunewise.request import Request
from tunewise.study import Study
from tunewise.testing import toy_split
from tunewise.trials import run_variant

CPU = Device("cpu", "float32", 1)
SPLIT = toy_split()


def planned(**changes):
    """Return a study of two variants that need no backbone, and two seeds."""
    plan = {"variants": ["majority", "tfidf_logistic"], "seeds": [0, 1], "data": {"source": "toy.csv"}, **changes}
    return Study(name="toy", **plan)


@pytest.fixture
def ran(home):
    """Return what runs a variant of a study and points to its outcome."""

    def run(study, variant, seed=0):
        request = Request.of(study, study.variant(variant), seed, split=SPLIT, backbone=None, device=CPU)
        outcome, is_reused = run_variant(request, home=home)
        point_to(outcome, Place(study.name, variant, seed), home, is_reused=is_reused)
        return outcome

    return run


def stored_again(outcome, folder):
    """Return the outcome after a way through another folder."""
    with new_folder(folder, KIND) as staging:
        write_outcome(outcome, staging)
    return read_outcome(folder)


def assert_equal_outcomes(one, other):
    """Compare every field, arrays by their bits."""
    for field in fields(one):
        if field.name in ("development", "test"):
            for part in (getattr(one, field.name), getattr(other, field.name)):
                assert part.answers.labels.dtype == part.answers.predicted.dtype == np.int64
            ours, theirs = getattr(one, field.name), getattr(other, field.name)
            assert ours.ids == theirs.ids
            assert np.array_equal(ours.answers.labels, theirs.answers.labels)
            assert np.array_equal(ours.answers.predicted, theirs.answers.predicted)
            assert np.array_equal(ours.answers.probabilities, theirs.answers.probabilities)
            assert {name: values.tolist() for name, values in ours.values.items()} == {
                name: values.tolist() for name, values in theirs.values.items()
            }
        elif field.name != "folder":
            assert getattr(one, field.name) == getattr(other, field.name), field.name


def test_an_outcome_comes_back_whole(ran, tmp_path):
    """Every field and every bit of every probability survives the disk."""
    outcome = ran(planned(), "tfidf_logistic")
    any_bits = np.random.default_rng(0).random((48, 2), dtype=np.float32)
    outcome = replace(outcome, test=replace(outcome.test, answers=replace(outcome.test.answers, probabilities=any_bits)))

    assert_equal_outcomes(outcome, stored_again(outcome, tmp_path / "again"))


def test_classes_stay_what_they_are(ran, tmp_path):
    """The string "01", the number 1 and the truth value are three classes."""
    outcome = replace(ran(planned(), "majority"), classes=("01", 1, True))

    assert [repr(label) for label in stored_again(outcome, tmp_path / "again").classes] == ["'01'", "1", "True"]


def test_labels_alone_come_back_without_probabilities(ran, tmp_path):
    """Answers that never had probabilities get none."""
    outcome = ran(planned(), "majority")
    bare = replace(outcome.test, answers=replace(outcome.test.answers, probabilities=None), values={})
    again = stored_again(replace(outcome, test=bare, development=bare), tmp_path / "again")

    assert again.test.answers.probabilities is None
    assert np.array_equal(again.test.answers.predicted, outcome.test.answers.predicted)


def test_the_table_can_be_read_by_anyone(ran):
    """predictions.parquet has a row per text with its part, its label and its probabilities."""
    import pyarrow.parquet as pq

    table = pq.read_table(ran(planned(), "majority").folder / "predictions.parquet")

    assert table.column_names == ["id", "part", "label", "predicted", "probabilities", "value_accuracy", "value_log_loss"]
    assert table["part"].to_pylist() == ["development"] * 48 + ["test"] * 48


def test_another_kind_of_folder_is_refused(tmp_path):
    """The error names what was found."""
    with new_folder(tmp_path / "split", "split") as staging:
        (staging / "rows").write_text("")

    with pytest.raises(ArtifactError, match=r"holds an artefact of kind 'split'; an outcome is needed"):
        read_outcome(tmp_path / "split")


def test_rows_and_what_is_missing(ran, home):
    """One variant ran, the other failed once and never ran once; rows stand in the plan's order."""
    study = planned()
    ran(study, "majority", seed=1)
    ran(study, "majority", seed=0)
    point_to_failure("No word stands in two texts.", Place("toy", "tfidf_logistic", 0), home)

    rows, missing = latest_rows(study, home, SPLIT.fingerprint)

    assert [(row.variant, row.seed, row.is_reused) for row in rows] == [("majority", 0, True), ("majority", 1, False)]
    assert missing == [
        Missing("tfidf_logistic", 0, "failed", "No word stands in two texts."),
        Missing("tfidf_logistic", 1, "never ran"),
    ]


@pytest.mark.parametrize(
    ("changes", "split", "words"),
    [
        ({}, "another", "the split"),
        ({"budget": "standard"}, SPLIT.fingerprint, "the epochs"),
        ({"metric": "mcc", "class_weights": "balanced"}, SPLIT.fingerprint, "the metric and the class weights"),
        (
            {"variants": [{"method": "tfidf_logistic", "name": "tfidf_logistic", "settings": {"c": [1.0]}}]},
            SPLIT.fingerprint,
            "the settings",
        ),
    ],
    ids=["split", "epochs", "metric and weights", "settings"],
)
def test_a_stale_outcome_says_what_changed(ran, home, changes, split, words):
    """What the study asks for now is compared with what the outcome was fitted with."""
    ran(planned(), "tfidf_logistic")

    rows, missing = latest_rows(planned(**changes), home, split)
    reason = next(one for one in missing if one.variant == "tfidf_logistic" and one.seed == 0)

    assert rows == []
    assert reason == Missing("tfidf_logistic", 0, "stale", f"Since it was fitted, {words} changed.")


def test_edited_code_makes_an_outcome_stale(ran, home, monkeypatch):
    """An edited training loop is a change like any other."""
    ran(planned(), "majority")
    monkeypatch.setattr("tunewise.request.code_sha256", lambda *_: "edited")

    _, missing = latest_rows(planned(), home, SPLIT.fingerprint)

    assert missing[0] == Missing("majority", 0, "stale", "Since it was fitted, the code changed.")


def test_a_lost_outcome_is_named(ran, home):
    """A pointer to a folder that is gone is no row."""
    outcome = ran(planned(), "majority")
    (folder_of(outcome.key, home) / "manifest.json").unlink()

    rows, missing = latest_rows(planned(), home, SPLIT.fingerprint)

    assert rows == []
    assert missing[0].reason == "never ran"
    assert "its outcome is gone" in missing[0].message


def test_a_superseded_pointer_is_kept(ran, home):
    """The latest pointer names the new outcome, the history the old one; the same outcome again adds nothing."""
    place = Place("toy", "tfidf_logistic", 0)
    first = ran(planned(), "tfidf_logistic")
    ran(planned(), "tfidf_logistic")
    assert not place.history(home).exists()

    second = ran(planned(metric="mcc"), "tfidf_logistic")
    (before,) = place.history(home).iterdir()

    assert json.loads(before.read_text())["key"] == first.key
    assert json.loads(place.pointer(home).read_text())["key"] == second.key
