"""What each comparison stood on is kept, once per day and state of the data."""

import datetime as dt
import json
from types import SimpleNamespace

import pytest

from tunewise import history
from tunewise.history import PastRow, note_comparison, read_history
from tunewise.outcome import Row


def rows(*keys):
    """Return a row per key, with what a comparison reads of it."""
    return [Row(f"variant_{i}", 0, SimpleNamespace(key=key)) for i, key in enumerate(keys)]


@pytest.fixture
def note(home, monkeypatch):
    """Note a comparison on a day of January 2026, and return its file."""

    def _note(*keys, day=1, split="a"):
        class Clock(dt.datetime):
            @classmethod
            def now(cls, tz=None):
                return cls(2026, 1, day, 3, len(read_history("toy", home)), tzinfo=tz)

        monkeypatch.setattr(history.dt, "datetime", Clock)
        return note_comparison("toy", rows(*keys), split_sha256=split, metric="accuracy", home=home)

    return _note


def test_months_stand_side_by_side(note, home):
    """Each state of the data has its outcomes, the eldest first."""
    note("k1", "k2", day=1, split="january")
    note("k3", "k4", day=31, split="february")
    past = read_history("toy", home)

    assert [(one.split_sha256, one.at[:10]) for one in past] == [("january", "2026-01-01"), ("february", "2026-01-31")]
    assert past[1].rows == (PastRow("variant_0", 0, "k3"), PastRow("variant_1", 0, "k4"))


def test_what_changed_nothing_is_not_noted(note, home):
    """A report of the same outcomes, or of none, adds no line."""
    assert note("k1") is not None
    assert note("k1", day=2) is None
    assert note(day=3) is None
    assert len(read_history("toy", home)) == 1


def test_of_one_day_and_split_the_last_counts(note, home):
    """A run whose variants come in one by one leaves one comparison; another day or split leaves its own."""
    note("k1")
    note("k1", "k2")
    note("k1", "k2", "k3", day=2)
    note("k4", day=2, split="b")

    assert [len(one.rows) for one in read_history("toy", home)] == [2, 3, 1]


def test_the_eldest_are_dropped(note, home, monkeypatch):
    """The folder does not grow for ever."""
    monkeypatch.setattr(history, "N_KEPT", 2)
    for day in (1, 2, 3):
        note(f"k{day}", day=day)

    assert [one.rows[0].key for one in read_history("toy", home)] == ["k2", "k3"]


def test_a_file_that_cannot_be_read_is_passed_over(note, home):
    """The others are read; what stands beside them for each variant is no comparison."""
    file = note("k1")
    file.with_name("20260102T000000.000000Z.json").write_text("{")
    file.with_name("20260103T000000.000000Z.json").write_text(json.dumps({"format": 0}))
    (file.parent / "lora").mkdir()

    assert [one.rows[0].key for one in read_history("toy", home)] == ["k1"]
