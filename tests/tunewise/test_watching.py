"""A run is due when rows changed, and only then; the look says what changed, and costs little where nothing did."""

import os
import time

import pytest

from tunewise import watching
from tunewise.errors import SourceError
from tunewise.steps import Workplace, embed_split, fit_variant, prepare_dataset, read_stored_report, split_dataset
from tunewise.study_file import read_study
from tunewise.testing import tiny_encoder
from tunewise.toy_study import TABLE, write_toy_study
from tunewise.watching import Changes, Seen, look

LATER = time.time() + 3600


@pytest.fixture
def place(tmp_path, home):
    """The workplace of a toy study."""
    path = write_toy_study(tmp_path / "toy")
    return Workplace(read_study(path), path.parent, home)


@pytest.fixture
def table(place):
    """The study's table: read as lines, written with another time."""
    return _Table(place.base / TABLE)


class _Table:
    def __init__(self, file):
        self.file = file
        self.lines = file.read_text().splitlines()

    def write(self, lines):
        self.file.write_text("\n".join([self.lines[0], *lines]) + "\n")
        self.touch()

    def touch(self):
        # Far enough that no clock's resolution hides it.
        moment = self.file.stat().st_mtime + 10
        os.utime(self.file, (moment, moment))


def test_nothing_written_is_nothing_read(place, table, monkeypatch):
    """Where size and time are the same, no byte is read."""
    first = look(place, None)
    monkeypatch.setattr(watching, "sha256_of_file", pytest.fail)
    again = look(place, first.seen)

    assert not first.is_changed
    assert first.message == "240 rows are watched from now on."
    assert (again.seen, again.is_changed) == (first.seen, False)


def test_a_touched_file_is_no_change(place, table, monkeypatch):
    """Its bytes are hashed once, and no row is read."""
    first = look(place, None)
    table.touch()
    monkeypatch.setattr(watching, "prepare_dataset", pytest.fail)
    touched = look(place, first.seen, now=LATER)
    monkeypatch.setattr(watching, "sha256_of_file", pytest.fail)

    assert (touched.is_changed, touched.message) == (False, "The bytes are the same; only their time is another.")
    assert not look(place, touched.seen, now=LATER).is_changed


def test_rows_in_another_order_are_no_change(place, table):
    """The bytes are others and the rows the same, twins with different labels among them."""
    table.write([*table.lines[1:], "a twin,class_0", "a twin,class_1"])
    first = look(place, None)
    table.write(["a twin,class_1", "a twin,class_0", *table.lines[:0:-1]])
    shuffled = look(place, first.seen, now=LATER)

    assert (shuffled.is_changed, shuffled.message) == (False, "The bytes changed and the rows are the same.")
    assert shuffled.seen.rows_sha256 == first.seen.rows_sha256


def test_what_changed_is_said(place, table):
    """Rows added, removed and relabelled are counted; the next look finds nothing new."""
    first = look(place, None)
    kept = table.lines[1:-2]
    text, _, label = kept[0].rpartition(",")
    other = "class_1" if label == "class_0" else "class_0"
    table.write([f"{text},{other}", *kept[1:], "new one,class_0", "new two,class_1", "new three,class_1"])
    found = look(place, first.seen, now=LATER)

    assert found.is_changed
    assert found.changes == Changes(added=3, removed=2, relabelled=1)
    assert found.message == "Of 241 rows: 3 rows added, 2 removed, 1 relabelled."
    assert found.seen.n_changes == 1
    assert not look(place, found.seen, now=LATER).is_changed


def test_rows_that_come_back_are_a_change_of_their_own(place, table):
    """There and back again are two changes, so that the second starts a run as the first did."""
    first = look(place, None)
    table.write([*table.lines[1:], "new,class_0"])
    there = look(place, first.seen, now=LATER)
    table.write(table.lines[1:])
    table.touch()
    back = look(place, there.seen, now=LATER)

    assert (there.is_changed, back.is_changed) == (True, True)
    assert back.seen.rows_sha256 == first.seen.rows_sha256
    assert back.seen.n_changes == 2


def test_with_ids_a_rewritten_text_is_no_new_row(place, table):
    """The id says which row it is."""
    data = place.study.data.model_copy(update={"id": "name"})
    named = Workplace(place.study.model_copy(update={"data": data}), place.base, place.home)
    rows = [f"row {i},{line}" for i, line in enumerate(table.lines[1:])]
    table.lines[0] = f"name,{table.lines[0]}"
    table.write(rows)
    first = look(named, None)
    table.write([*rows[:-1], rows[-1].replace(",", ",another word ", 1)])
    found = look(named, first.seen, now=LATER)

    assert found.changes == Changes(rewritten=1)
    assert str(found.changes) == "1 row rewritten"


def test_a_file_that_may_still_be_written_is_left_for_the_next_look(place, table):
    """Half a table is a table with fewer rows, and no run should be started on it."""
    first = look(place, None)
    table.write(table.lines[1:100])
    early = look(place, first.seen, now=table.file.stat().st_mtime + 1)

    assert (early.is_changed, early.seen) == (False, first.seen)
    assert "was written to in the last 5 seconds" in early.message
    assert look(place, first.seen, now=table.file.stat().st_mtime + 6).is_changed


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_look(place, table, monkeypatch):
    """What was read then is not kept as seen."""
    first = look(place, None)
    table.write([*table.lines[1:], "new,class_0"])

    def read(place):
        found = prepare_dataset(place)
        table.touch()
        return found

    monkeypatch.setattr(watching, "prepare_dataset", read)
    torn = look(place, first.seen, now=LATER)

    assert (torn.is_changed, torn.seen) == (False, first.seen)
    assert "while it was read" in torn.message


def test_the_first_look_compares_with_the_last_run(place, table):
    """A change made while nobody looked is found; rows that were fitted are no change."""
    fitted = prepare_dataset(place).folder
    same = look(place, None, fitted=fitted)
    table.write([*table.lines[1:], "new,class_0"])
    grown = look(place, None, fitted=fitted)

    assert not same.is_changed
    assert grown.changes == Changes(added=1)
    assert grown.is_changed


def test_large_tables_are_compared_by_their_bytes(place, table, monkeypatch):
    """A tick has a minute; what cannot be read in it starts a run, which finds out what is new."""
    monkeypatch.setattr(watching, "MAX_READ_BYTES", 1000)
    monkeypatch.setattr(watching, "prepare_dataset", pytest.fail)
    first = look(place, None)
    table.write([*table.lines[1:], "new,class_0"])
    found = look(place, first.seen, now=LATER)

    assert (first.is_changed, found.is_changed, found.changes) == (False, True, None)
    assert found.seen.n_changes == 1


def test_a_lost_copy_of_the_old_rows_is_no_loss_of_the_change(place, table):
    """That there is a change is still known, and what changed is not said."""
    first = look(place, None)
    table.write([*table.lines[1:], "new,class_0"])
    lost = Seen(first.seen.states, first.seen.contents, first.seen.rows_sha256, str(place.base / "gone"))
    found = look(place, lost, now=LATER)

    assert (found.is_changed, found.changes, found.message) == (True, None, "Rows changed.")


def test_a_missing_table_is_an_error(place, table):
    """The look says so; what was seen stands."""
    first = look(place, None)
    table.file.unlink()
    with pytest.raises(SourceError, match="There is no file"):
        look(place, first.seen)


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"states": []}'])
def test_what_is_no_memory_of_a_look_is_none(text):
    """A cursor of another version makes the next look the first."""
    assert Seen.from_json(text) is None


def test_a_memory_of_a_look_comes_back(place):
    """It is kept as text between two looks."""
    seen = look(place, None).seen

    assert Seen.from_json(seen.to_json()) == seen


def test_new_rows_alone_are_embedded_and_what_is_current_is_not_fitted_again(tmp_path, home):
    """Ten rows more: ten texts go through the backbone. The same rows in another order: nothing is computed or fitted."""
    path = write_toy_study(tmp_path / "toy", ["knn", "majority"])
    study, backbone = read_study(path), tiny_encoder(tmp_path / "toy" / "tiny")
    place, table = Workplace(study, path.parent, home), _Table(path.parent / TABLE)

    def run():
        split = split_dataset(place, prepare_dataset(place))
        report = read_stored_report(embed_split(place, split, backbone))
        fits = [fit_variant(place, variant, split, backbone) for variant in study.planned()]
        return report, [row.is_reused for one in fits for row in one.rows]

    first, fitted = run()
    table.write([*table.lines[1:], *(f"wholly new text number {i},class_{i % 2}" for i in range(10))])
    grown, refitted = run()
    table.write([*(f"wholly new text number {i},class_{i % 2}" for i in range(10)), *table.lines[:0:-1]])
    _, reused = run()

    assert (first.n_reused, fitted) == (0, [False, False])
    assert (grown.n_computed, grown.n_reused, refitted) == (10, first.n_computed, [False, False])
    assert reused == [True, True]
