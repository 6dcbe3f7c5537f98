"""The audit: every check passes where it should and fails where it should."""

import json

import numpy as np
import pytest

from tunewise.contracts import Part, Split
from tunewise.data.audit import audit
from tunewise.data.dataset import Dataset
from tunewise.data.findings import BLOCKING, CHECKS, MAX_ROWS, counted, shown

LONG = "the quick brown fox jumps over the lazy dog and runs away"


def split_of(classes=("a", "b"), **parts):
    """A split from texts and labels by side, clean rows beside them."""
    made = {}
    for side in ("train", "development", "test"):
        rows = parts.get(side, [])
        if parts.get("clean", True):
            rows = [*rows, *((f"clean {side} {i}", classes[i % len(classes)]) for i in range(10 * len(classes)))]
        labels = np.array([classes.index(label) for _, label in rows], np.int64)
        made[side] = Part(tuple(f"{side}-{i}" for i in range(len(rows))), tuple(text for text, _ in rows), labels)
    return Split(classes, **made, fingerprint="f" * 64)


def findings_of(split, n_left_out=None, **limits):
    """Audit a split whose data set left out the given rows."""
    rows = [row for _, part in split.parts() for row in part.ids]
    dataset = Dataset(
        tuple(rows), tuple(rows), np.zeros(len(rows), np.int64), split.classes, None, "MIT", "f" * 64, n_left_out or {}
    )
    return {finding.name: finding for finding in audit(dataset, split, **limits)}


def test_clean_data_passes_every_check():
    """One finding for each check, in order, and none blocks."""
    found = findings_of(split_of())

    assert list(found) == list(CHECKS)
    assert [name for name, finding in found.items() if not finding.passed] == []
    assert [name for name, finding in found.items() if finding.is_blocking] == []


def test_missing_values():
    """They are counted by reason; ratings outside the bands alone are no fault."""
    found = findings_of(split_of(), {"no text": 2, "no label": 1, "rating in no band": 3})["missing_values"]

    assert not found.passed
    assert found.message == "Left out of 66: 2 rows with no text, 1 row with no label, 3 rows with rating in no band."
    assert found.rows[0] == {"reason": "no text", "n_rows": 2}
    assert findings_of(split_of(), {"rating in no band": 3})["missing_values"].passed


def test_exact_and_near_copies_on_one_side():
    """An exact copy is no near copy as well; case and punctuation make a near one."""
    found = findings_of(split_of(train=[("Same.", "a"), ("Same.", "a"), ("same", "a"), (LONG, "b"), (LONG + " now", "b")]))

    assert found["exact_duplicates"].message == "1 text copies another on the same side (1 in train): such rows count twice."
    assert found["exact_duplicates"].rows[0]["other_id"] == "train-0"
    assert found["near_duplicates"].message.startswith("2 texts nearly repeat others on the same side (2 in train)")
    assert [(row["id"], row["other_id"]) for row in found["near_duplicates"].rows] == [
        ("train-2", "train-0"),
        ("train-4", "train-3"),
    ]
    assert found["exact_duplicates_across_sides"].passed
    assert found["near_duplicates_across_sides"].passed


def test_copies_across_sides_say_which_share_of_the_side_is_touched():
    """Test rows are compared with training and development rows, development rows with training rows."""
    found = findings_of(
        split_of(train=[("Same.", "a"), (LONG, "b")], development=[("Same.", "a")], test=[("Same.", "a"), (LONG + " now", "b")])
    )

    exact = found["exact_duplicates_across_sides"]
    assert not exact.passed
    assert exact.message.startswith(
        "1 of 21 development texts (4.8%) have an exact copy in train; "
        "1 of 22 test texts (4.5%) have an exact copy in train or development: a method may know"
    )
    assert exact.rows[1] == {
        "id": "test-0",
        "side": "test",
        "class": "a",
        "text": "Same.",
        "other_id": "train-0",
        "other_side": "train",
        "other_class": "a",
        "other_text": "Same.",
    }
    assert found["near_duplicates_across_sides"].message.startswith("1 of 22 test texts (4.5%) have a near copy")
    assert found["exact_duplicates"].passed
    assert found["near_duplicates"].passed


def test_a_bounded_search_is_said_to_be_one(monkeypatch):
    """Where texts share a template with more others than the search looks at, the finding says for how many it did."""
    monkeypatch.setattr("tunewise.data.duplicates.EXACT_ROWS", 4)
    monkeypatch.setattr("tunewise.data.duplicates.MAX_HOLDERS", 2)
    monkeypatch.setattr("tunewise.data.copies.MAX_HOLDERS", 2)
    split = split_of(train=[(f"{LONG} with {i} more than we had", "a") for i in range(8)])
    found = findings_of(split)["near_duplicates"]

    assert (
        "that share a template with many others, near copies were looked for among the 2 eldest of these alone" in found.message
    )
    monkeypatch.undo()
    assert "share a template" not in findings_of(split)["near_duplicates"].message


def test_contradicting_labels_are_found_behind_agreeing_ones():
    """The third copy contradicts the second though it agrees with the first."""
    found = findings_of(split_of(train=[("Same.", "a"), ("same", "b")], test=[("SAME", "a")]))["contradicting_labels"]

    assert not found.passed
    assert [(row["id"], row["other_id"]) for row in found.rows] == [("train-1", "train-0"), ("test-0", "train-1")]
    assert found.message.startswith("2 texts (nearly) repeated with another class")


def test_too_few_classes_in_training_block():
    """One class in training is no task; a class that is only tested cannot be learned."""
    one = findings_of(split_of(clean=False, train=[("x", "a")], development=[("y", "a")], test=[("z", "b")]))[
        "classes_in_training"
    ]

    assert (one.passed, one.is_blocking) == (False, True)
    assert one.message.startswith("1 class of 2 with training rows. None for 'b': no method can learn them")


def test_a_class_that_is_only_tested_is_a_warning():
    """Two of forty classes in training are a task; the rest are named and counted, and every class shown has its numbers."""
    classes = tuple(f"c{i:02}" for i in range(40))
    rows = [(f"text {i}", label) for i, label in enumerate(classes)]
    split = split_of(classes, clean=False, train=rows[38:], development=rows, test=rows)
    found = findings_of(split)["classes_in_training"]

    assert (found.passed, found.is_blocking) == (False, False)
    assert "2 classes of 40 with training rows. None for 'c00', 'c01'" in found.message
    assert "'c09' and 28 more" in found.message
    assert len(found.rows) == MAX_ROWS
    assert [row["train"] for row in found.rows] == [0] * 18 + [1, 1]
    one = findings_of(split_of(classes, clean=False, train=rows[39:], development=rows, test=rows))
    assert {name for name, finding in one.items() if finding.is_blocking} == BLOCKING == {"classes_in_training"}


def test_small_missing_and_unequal_classes():
    """Each is a warning of its own, with counts by side."""
    found = findings_of(split_of(("a", "b", 3), train=[(f"t {i}", "a") for i in range(100)]))
    assert found["class_balance"].message.startswith("The largest class, 'a', has 11.0 times the training rows of the smallest")
    assert not found["class_balance"].passed
    assert found["class_balance"].rows[-1] == {"class": "a", "train": 110, "development": 10, "test": 10}

    rows = [(f"w{i}", "a") for i in range(4)]
    found = findings_of(split_of(clean=False, train=[*rows, ("x", "b")], development=rows[:1], test=[("y", "a"), ("z", "b")]))
    assert found["small_classes"].message == "2 classes with fewer than 5 training rows: 'b', 'a'. Scores on them say little."
    assert found["classes_held_out"].message == "1 class without held-out rows: 'b'. Scores on them say little."
    assert found["classes_in_training"].passed


def test_a_leaked_label():
    """A word in 20 texts of one class and none of another is a leak; in 19, or with one text in 21 elsewhere, it is none."""
    words = [(f"{i} via pos_export", "a") for i in range(20)]
    leak = findings_of(split_of(train=words))["leaked_label"]
    assert not leak.passed
    assert leak.message.startswith(
        "2 words may give the class away. 'pos_export' stands in 20 texts, 100.0% of them 'a', and in 40.0%"
    )
    assert leak.rows[0] == {"word": "pos_export", "class": "a", "n_texts": 20, "precision": 1.0, "share_of_class": 0.4}

    assert findings_of(split_of(train=words[1:]))["leaked_label"].passed
    assert findings_of(split_of(train=[*words, ("more via pos_export", "b")]))["leaked_label"].passed


def test_a_word_of_few_texts_of_its_class_is_no_leak():
    """20 of 420 texts are 4.8% of the class, 20 of 400 are 5%."""
    many = [(f"some {i}", "a") for i in range(370)]
    rare = [(f"r{i} export", "a") for i in range(20)]
    assert "export" not in [row["word"] for row in findings_of(split_of(train=many + rare))["leaked_label"].rows]
    assert "export" in [row["word"] for row in findings_of(split_of(train=many[:350] + rare))["leaked_label"].rows]


def test_a_word_counts_once_a_text_and_once_a_row():
    """A text that repeats a word ten times is one text; two rows of the same text are two."""
    once = [("export " * 10 + str(i), "a") for i in range(10)]
    assert findings_of(split_of(train=once))["leaked_label"].passed
    assert not findings_of(split_of(train=once, test=once))["leaked_label"].passed


def test_lengths():
    """The share of texts longer than the limit is said; up to 5% are no reason to warn."""
    split = split_of(train=[("x " * 50, "a")] * 4)

    def n_words(texts):
        return np.array([len(text.split()) for text in texts])

    found = findings_of(split, token_lengths=n_words, max_tokens=49)["text_lengths"]
    assert not found.passed
    assert "50 at most; 4 texts (6.2%) longer than the backbone's 49 and cut there." in found.message
    assert found.rows[0]["n_tokens"] == 50
    assert findings_of(split, token_lengths=n_words, max_tokens=50)["text_lengths"].passed
    assert findings_of(split)["text_lengths"].message == "Not checked: no backbone was given."


def test_unreadable_characters():
    """The mark that decoders leave is counted, in pairs too."""
    found = findings_of(split_of(train=[("caf\ufffd", "a"), (("a", "b\ufffd"), "b")]))["unreadable_characters"]

    assert not found.passed
    assert found.message.startswith("2 texts with U+FFFD")


@pytest.mark.parametrize("classes", [("a", "b"), (1, 2), (False, True)])
def test_findings_are_small_and_plain_json(classes):
    """At most 20 rows, long texts cut, and nothing that JSON does not hold."""
    rows = [("x" * 1_000, classes[0])] * 100
    for finding in findings_of(split_of(classes, train=rows, test=rows), {"no text": 1}).values():
        again = json.loads(json.dumps(finding.to_json(), allow_nan=False))
        assert again["name"] == finding.name
        assert again["is_blocking"] is finding.is_blocking
        assert len(again["rows"]) <= MAX_ROWS
        assert all(len(str(value)) <= 200 for row in again["rows"] for value in row.values())


def test_words_for_numbers():
    """Nouns follow their numbers, and pairs are shown with a bar between."""
    assert [counted(1, "class"), counted(2, "class"), counted(2_000, "text")] == ["1 class", "2 classes", "2,000 texts"]
    assert shown(("a", "b")) == "a | b"
