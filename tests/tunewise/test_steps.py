"""Each step stores a folder by what determines it: reused while that stands, made anew when it changes."""

import json
import threading
import time
from dataclasses import replace

import pytest

from tunewise.claims import claimed
from tunewise.errors import StudyError
from tunewise.request import Request
from tunewise.steps import (
    Workplace,
    audit_split,
    compare,
    device_of,
    embed_split,
    fit_variant,
    prepare_dataset,
    read_stored_dataset,
    read_stored_report,
    read_stored_split,
    split_dataset,
)
from tunewise.study import Compute
from tunewise.study_file import read_study
from tunewise.testing import tiny_encoder
from tunewise.toy_study import write_toy_study


@pytest.fixture
def place(tmp_path, home):
    """The workplace of a toy study."""
    path = write_toy_study(tmp_path / "toy")
    return Workplace(read_study(path), path.parent, home)


def with_data(place, **fields):
    """Return the place with other fields in the study's data."""
    data = place.study.data.model_copy(update=fields)
    return Workplace(place.study.model_copy(update={"data": data}), place.base, place.home)


def test_unchanged_data_is_read_once(place):
    """The second call returns the same folder, which it did not write."""
    first = prepare_dataset(place)
    written = (first.folder / "manifest.json").stat().st_mtime_ns

    assert prepare_dataset(place) == first
    assert (first.folder / "manifest.json").stat().st_mtime_ns == written


def test_other_bytes_are_other_data(place):
    """A row more in the table, under the same name, is another data set; so is what the study says of it."""
    first = prepare_dataset(place)
    with (place.base / "texts.csv").open("a") as table:
        table.write("one more text,class_0\n")
    second = prepare_dataset(place)

    assert second.uri != first.uri
    assert len(read_stored_dataset(second)) == len(read_stored_dataset(first)) + 1
    assert prepare_dataset(with_data(place, licence="CC0-1.0")).uri != second.uri


def test_another_salt_is_another_split_of_the_same_data(place):
    """The salt sides the rows and changes none of them."""
    salted = with_data(place, split=place.study.data.split.model_copy(update={"salt": "other"}))
    dataset = prepare_dataset(place)

    assert prepare_dataset(salted) == dataset
    one, other = split_dataset(place, dataset), split_dataset(salted, dataset)
    assert read_stored_split(one).fingerprint != read_stored_split(other).fingerprint


def test_a_damaged_folder_is_made_again(place):
    """A file that was cut is no reason to fail, nor one to be read."""
    first = prepare_dataset(place)
    (first.folder / "rows.parquet").write_bytes(b"cut")

    assert prepare_dataset(place) == first


@pytest.mark.parametrize("step", ["dataset", "split"])
def test_a_changed_byte_is_seen_and_made_good(place, step, caplog):
    """No name and no size tells it; the hash does, the log says so, and what follows finds the same rows as before."""
    dataset = prepare_dataset(place)
    split = split_dataset(place, dataset)
    folder = {"dataset": dataset, "split": split}[step].folder
    data = bytearray((folder / "rows.parquet").read_bytes())
    data[100] ^= 1
    (folder / "rows.parquet").write_bytes(data)

    assert prepare_dataset(place) == dataset
    assert split_dataset(place, dataset) == split
    assert f"{folder / 'rows.parquet'} was altered" in caplog.text


def test_a_seed_that_another_process_fits_is_left_for_last(place):
    """The free seed is fitted first; then the other is waited for, which the progress says, and reused."""
    said, keys = [], {}
    declared = place.study.variant("tfidf_logistic")
    seeded = replace(place, study=place.study.model_copy(update={"seeds": (0, 1)}))
    split = split_dataset(seeded, prepare_dataset(seeded))
    for seed in (0, 1):
        method = replace(declared.method, is_seeded=True)
        asked = Request.of(
            seeded.study,
            replace(declared, method=method),
            seed,
            split=read_stored_split(split),
            backbone=None,
            device=device_of(declared.compute),
        )
        keys[seed] = asked
    done = threading.Event()

    def elsewhere():
        with claimed(keys[0].key, place.home):
            done.set()
            while not any("waiting" in stage for stage, *_ in said):
                time.sleep(0.01)

    other = threading.Thread(target=elsewhere)
    other.start()
    done.wait()
    seeded = replace(seeded, progress=lambda *one: said.append(one))
    fits = fit_variant(seeded, replace(declared, method=replace(declared.method, is_seeded=True)), split, None)
    other.join()
    waits = [i for i, (stage, *_) in enumerate(said) if "tfidf_logistic, seed 0: waiting for another process" in stage]
    counted = [i for i, one in enumerate(said) if one == ("tfidf_logistic: seeds", 1, 2)]

    assert [row.seed for row in fits.rows] == [0, 1]
    assert counted[0] < waits[0]


def test_the_audit_says_the_same_from_its_store(place):
    """Findings come back as they were made, one for every check."""
    dataset = prepare_dataset(place)
    split = split_dataset(place, dataset)
    first = audit_split(place, dataset, split)

    assert audit_split(place, dataset, split) == first
    assert {finding.name: finding.passed for finding in first}["classes_in_training"]


def test_lengths_are_held_against_a_backbones_limit(place, tmp_path):
    """With a backbone the texts' tokens are counted."""
    dataset = prepare_dataset(place)
    found = audit_split(place, dataset, split_dataset(place, dataset), tiny_encoder(tmp_path / "tiny"))
    (lengths,) = (finding for finding in found if finding.name == "text_lengths")

    assert "tokens in the middle" in lengths.message


def test_lengths_that_could_not_be_checked_say_why(place):
    """The reason is the caller's, and not kept with the findings."""
    dataset = prepare_dataset(place)
    split = split_dataset(place, dataset)

    assert audit_split(place, dataset, split, why_none="the disk is full.")[-1].message == "Not checked: the disk is full."
    assert audit_split(place, dataset, split)[-1].message == "Not checked: no backbone was given."


def test_the_page_says_what_the_audit_said(tmp_path, home):
    """With the same backbone the comparison takes the stored audit; without, it says which one is missed."""
    path = write_toy_study(tmp_path / "toy", ["majority", "knn"])
    place = Workplace(read_study(path), path.parent, home)
    dataset, backbone = prepare_dataset(place), tiny_encoder(tmp_path / "toy/tiny")
    audit_split(place, dataset, split_dataset(place, dataset), backbone)
    verdict, _ = compare(place, {"tiny": backbone})

    assert "tokens in the middle" in verdict.findings[-1]["message"]
    assert len(list((home.artifacts / "audit").iterdir())) == 1
    assert compare(place)[0].findings[-1]["message"] == "Not checked: backbone tiny is not at hand."


def test_other_settings_than_the_declared_move_no_pointer(place, monkeypatch):
    """Neither their outcome nor their failure is the latest of the variant."""
    declared = place.study.variant("tfidf_logistic")
    other = replace(declared, settings=declared.settings.model_copy(update={"max_terms": 7}))
    split = split_dataset(place, prepare_dataset(place))
    fits = fit_variant(place, other, split, None)
    latest = place.home.study("toy") / "latest" / "tfidf_logistic" / "0.json"

    assert fits.rows[0].outcome.settings["max_terms"] == 7
    assert not latest.exists()
    kept = fit_variant(place, declared, split, None).rows[0].outcome.key
    monkeypatch.setattr("tunewise.trials.run_variant", lambda *_, **__: 1 / 0)
    assert fit_variant(place, other, split, None).missing
    assert json.loads(latest.read_text())["key"] == kept


def test_features_are_computed_once(place, tmp_path):
    """The report of the first call stands: nothing is embedded again."""
    dataset = prepare_dataset(place)
    split, backbone = split_dataset(place, dataset), tiny_encoder(tmp_path / "tiny")
    reference = embed_split(place, split, backbone)

    assert embed_split(place, split, backbone) == reference
    report = read_stored_report(reference)
    assert report.n_computed + report.n_reused == len(read_stored_dataset(dataset))


def test_every_seed_has_a_pointer(place):
    """What is latest is noted per seed: the outcome's key, and whether it was reused."""
    seeded = Workplace(place.study.model_copy(update={"seeds": (0, 7)}), place.base, place.home)
    dataset = prepare_dataset(seeded)
    fits = fit_variant(seeded, seeded.study.variant("majority"), split_dataset(seeded, dataset), None)
    pointers = {seed: json.loads((place.home.study("toy") / "latest/majority" / f"{seed}.json").read_text()) for seed in (0, 7)}

    assert [row.seed for row in fits.rows] == [0, 7]
    assert pointers[0]["key"] == pointers[7]["key"] == fits.rows[0].outcome.key
    assert [pointers[seed]["is_reused"] for seed in (0, 7)] == [False, True]


def test_a_study_that_says_nothing_of_compute_gets_all_there_is():
    """A number of processors that is written down is the number of threads."""
    assert device_of(Compute(cpus=1)).n_threads == 1
    assert device_of(Compute()).n_threads >= 1


def test_a_gpu_that_is_not_here_is_no_silent_cpu(monkeypatch):
    """Its costs would be taken for a GPU's."""
    monkeypatch.setattr("tunewise.device._has_gpu", lambda: False)

    with pytest.raises(StudyError, match=r"compute\.gpus=1 was given and this process sees no CUDA device"):
        device_of(Compute(gpus=1))
