"""The split: stable, grouped, honest about what it cannot give."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewise.data.dataset import Dataset
from tunewise.data.duplicates import eldest_duplicate
from tunewise.data.forms import Forms
from tunewise.data.split import _drawn_sides, make_split, read_split, write_split
from tunewise.errors import ArtifactError, DataError
from tunewise.study import SplitRule

SHARES = {"test": 0.3, "development": 0.2}


def dataset_of(texts, *, labels=None, sides=None, classes=("a", "b")):
    """A data set of these texts, their classes taking turns."""
    labels = [i % len(classes) for i in range(len(texts))] if labels is None else labels
    ids = tuple(f"{i:04}" for i in range(len(texts)))
    return Dataset(ids, tuple(texts), np.array(labels, np.int64), classes, sides, "MIT", "f" * 64, {})


def side_by_id(split):
    """Return the side of each id, training rows first."""
    return {name: side for side, part in split.parts() for name in part.ids}


def drawn(texts, salt="salt"):
    """Return the sides of texts, however few they are."""
    return _drawn_sides(SimpleNamespace(texts=texts), np.arange(len(texts)), SHARES, salt)


def numbered(n):
    """Return texts of which no two are duplicates."""
    return [f"text number {i} of many that are all different" for i in range(n)]


TEXTS = st.lists(
    st.lists(st.sampled_from("abcd"), max_size=14).map(" ".join) | st.sampled_from(["One two.", "one TWO", "!", "?"]), max_size=20
)


@settings(max_examples=300, deadline=None)
@given(TEXTS, TEXTS)
def test_appending_rows_moves_no_old_one(old, new):
    """Whatever is appended, near copies of old rows included, every old row keeps its side."""
    assert drawn(old + new)[: len(old)] == drawn(old)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_a_duplicate_joins_the_side_of_its_elder(texts):
    """Each row is on the side of the eldest row it duplicates."""
    sides = drawn(texts)

    assert [sides[elder] for elder in eldest_duplicate(texts).tolist()] == sides


def test_a_row_without_elder_is_sided_by_its_own_text():
    """Removing or reordering other rows moves none, nor do case and punctuation."""
    texts = numbered(50)
    sides = drawn(texts)

    assert drawn(texts[::-1])[::-1] == sides
    assert drawn([text.upper() + "!" for text in texts]) == sides
    assert drawn(texts[::2]) == sides[::2]


def test_shares_are_met_as_by_fair_coins():
    """Of 20,000 texts each side holds its share within 4.5 standard deviations, for any salt; salts differ."""
    texts = numbered(20_000)
    forms = Forms.of(texts)
    counts = []
    for salt in ("", "study", "é" * 100):
        sides = drawn(texts, salt)
        for side, share in (*SHARES.items(), ("train", 0.5)):
            assert abs(sides.count(side) - share * 20_000) < 4.5 * (20_000 * share * (1 - share)) ** 0.5
        counts.append(sides)
    assert len(forms.of_row) == 20_000
    assert counts[0] != counts[1] != counts[2]


def test_a_larger_development_share_moves_no_test_row():
    """The test rows depend on their own share alone."""
    dataset = dataset_of(numbered(200))
    small, large = (make_split(dataset, SplitRule(development=share, test=0.2), "salt") for share in (0.1, 0.3))

    assert small.test.ids == large.test.ids
    assert set(small.development.ids) < set(large.development.ids)


def test_given_sides_are_kept():
    """Nothing is drawn where all three sides are given, not even for duplicates."""
    sides = ("train", "test", "development", "train")
    split = make_split(dataset_of(["x", "x", "x", "y"], labels=[0, 0, 1, 1], sides=sides), SplitRule(), "salt")

    assert tuple(side_by_id(split).values()) == ("train", "train", "development", "test")
    assert [side_by_id(split)[f"{i:04}"] for i in range(4)] == list(sides)


def test_development_is_drawn_from_training_rows():
    """Given test rows stay; training rows are drawn as if the test rows were not there."""
    texts = numbered(300)
    given_sides = ("train",) * 200 + ("test",) * 100
    split = make_split(dataset_of(texts, sides=given_sides), SplitRule(), "salt")
    without = make_split(dataset_of(texts[:200]), SplitRule(development=0.1, test=0.1), "salt")

    assert split.test.ids == tuple(f"{i:04}" for i in range(200, 300))
    # A hash below 0.1 means development here and test there.
    assert split.development.ids == without.test.ids


def test_rows_stand_in_the_order_of_their_ids():
    """Equal rows in another order are the same split, with the same fingerprint."""
    texts = numbered(60)
    one = dataset_of(texts)
    order = list(range(60))[::-1]
    other = Dataset(
        tuple(one.ids[i] for i in order),
        tuple(texts[i] for i in order),
        one.labels[order],
        one.classes,
        None,
        "MIT",
        "0" * 64,
        {},
    )
    a, b = (make_split(dataset, SplitRule(), "salt") for dataset in (one, other))

    assert a.fingerprint == b.fingerprint
    assert a.train.ids == b.train.ids == tuple(sorted(a.train.ids))
    assert a.train.labels.tolist() == b.train.labels.tolist()


def test_fingerprints_differ_where_splits_do():
    """Another side, label, text or kind of class is another split."""
    texts, sides = ["w", "x", "y", "z"], ("train", "train", "development", "test")
    splits = [
        dataset_of(texts, sides=sides),
        dataset_of(texts, sides=("train", "train", "test", "development")),
        dataset_of(texts, sides=sides, labels=[1, 0, 0, 0]),
        dataset_of(["W", "x", "y", "z"], sides=sides),
        dataset_of(texts, sides=sides, classes=(0, 1)),
        dataset_of(texts, sides=sides, classes=(False, True)),
        dataset_of(texts, sides=sides, classes=("0", "1")),
    ]

    assert len({make_split(dataset, SplitRule(), "salt").fingerprint for dataset in splits}) == len(splits)


@pytest.mark.parametrize("classes", [("01", "NA", "None"), (False, True), (-1, 0, 10)])
@pytest.mark.parametrize("is_pair", [True, False])
def test_a_stored_split_is_the_same(tmp_path, classes, is_pair):
    """Every field survives: classes in their kind, pairs as pairs, rows in their order."""
    texts = [(text, "\x00 NA") for text in numbered(90)] if is_pair else numbered(90)
    split = make_split(dataset_of(texts, classes=classes), SplitRule(), "salt")

    write_split(split, tmp_path)
    again = read_split(tmp_path)

    assert repr(again.classes) == repr(split.classes)
    assert (again.fingerprint, again.licence) == (split.fingerprint, "MIT")
    for (_, one), (_, other) in zip(split.parts(), again.parts(), strict=True):
        assert (one.ids, one.texts, one.labels.tolist()) == (other.ids, other.texts, other.labels.tolist())
        assert other.labels.dtype == np.int64


def test_a_damaged_folder_is_said(tmp_path):
    """The error names the file and says that the folder can be deleted."""
    write_split(make_split(dataset_of(numbered(60)), SplitRule(), "salt"), tmp_path)
    (tmp_path / "split.json").write_text("{")

    with pytest.raises(ArtifactError, match=r"split\.json cannot be read: .*it will be made again"):
        read_split(tmp_path)


def test_an_empty_side_is_refused():
    """The error names the side, its share and the rows there are."""
    with pytest.raises(
        DataError, match=r"No row is left for (development|test) \(a share of 0\.[12] was asked for\); the data has 3"
    ):
        make_split(dataset_of(["same", "same", "same"]), SplitRule(), "salt")
    with pytest.raises(DataError, match=r"No row is left for train; the data has 2 usable rows\..*Give more rows"):
        make_split(dataset_of(["x", "y"], sides=("development", "test")), SplitRule(), "salt")


def test_a_table_of_its_own_without_usable_rows_is_no_share():
    """Where a side was to come from a table that gave no row, nothing is drawn instead."""
    rule = SplitRule(development="path:dev.csv", test=0.5)
    with pytest.raises(DataError, match=r"No row is left for development; the data has 40"):
        make_split(dataset_of(numbered(40), sides=("train",) * 40), rule, "salt")


def test_a_class_without_training_rows_is_kept():
    """Two classes can be told apart; the third stands in the split, where the audit names it."""
    dataset = dataset_of(
        ["v", "w", "x", "y", "z"],
        labels=[0, 1, 0, 1, 2],
        sides=("train", "train", "development", "test", "test"),
        classes=("seen", "known", "rare"),
    )
    split = make_split(dataset, SplitRule(), "salt")

    assert split.classes == ("seen", "known", "rare")
    assert split.test.labels.tolist() == [1, 2]


def test_one_class_in_training_is_refused():
    """The error names the class that is there and, with their rows, those that are not."""
    dataset = dataset_of(
        ["v", "w", "x", "y", "z"],
        labels=[0, 0, 1, 2, 2],
        sides=("train", "development", "test", "test", "test"),
        classes=("seen", "new", "rare"),
    )
    with pytest.raises(
        DataError, match=r"All 1 training rows have the class 'seen'.*none has the class 'new' \(1\), 'rare' \(2\) .*join classes"
    ):
        make_split(dataset, SplitRule(), "salt")


def test_near_duplicates_alone_depend_on_the_order_of_rows():
    """Distinct texts have their side in any order; of near duplicates the first gives its own to the others."""
    texts = numbered(60)
    forth, back = drawn(texts), drawn(texts[::-1])
    assert forth == back[::-1]

    pairs = [
        ("one two three four five six seven eight nine ten", f"one two three four five six seven eight nine ten {i}")
        for i in range(40)
    ]
    assert any(drawn(list(pair)) != drawn(list(pair[::-1])) for pair in pairs)
