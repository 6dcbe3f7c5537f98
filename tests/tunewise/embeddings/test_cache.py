"""The row cache."""

import subprocess
import sys
import uuid
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from tunewise.embeddings.cache import RowCache, key_of
from tunewise.errors import ArtifactError
from tunewise.rng import Rng

KEYS = [key_of(f"text {i}") for i in range(30)]
ROWS = Rng(0).numpy().standard_normal((30, 5)).astype(np.float32)

ORDER = [*range(1, 30), 0]


@pytest.fixture(params=["local", "memory"])
def cache(request, tmp_path):
    """A cache on a local disk, and one in an object store of the process's own."""
    return RowCache(tmp_path if request.param == "local" else f"memory://{uuid.uuid4().hex}", "space")


def same(found, keys):
    """Say whether exactly ``keys`` were found, bit for bit."""
    return found.keys() == set(keys) and all(np.array_equal(found[key], ROWS[KEYS.index(key)]) for key in keys)


def names(folder):
    """Return the file names of the space."""
    return sorted(path.name for path in (folder / "space").iterdir())


def test_rows_come_back_bit_for_bit(cache):
    """Rows of several files are found together; unknown keys are left out; an empty space holds nothing."""
    assert cache.find(KEYS) == {}

    cache.add(KEYS[:10], ROWS[:10])
    cache.add(KEYS[10:20], ROWS[10:20])
    assert same(cache.find(KEYS), KEYS[:20])
    assert same(cache.find(KEYS[5:7]), KEYS[5:7])


def test_the_elder_of_two_rows_stands(cache):
    """A key that two processes stored keeps the value that was there first."""
    cache.add(KEYS[:3], ROWS[:3])
    cache.add(KEYS[:3], ROWS[:3] + 1)

    assert same(cache.find(KEYS), KEYS[:3])


def test_spaces_do_not_mix(tmp_path):
    """What one backbone stored is nothing to another; a file moved there by hand is set aside."""
    RowCache(tmp_path, "space").add(KEYS, ROWS)
    other = RowCache(tmp_path, "other")
    assert other.find(KEYS) == {}

    (tmp_path / "space").rename(tmp_path / "other")
    with pytest.warns(RuntimeWarning, match="cut or altered"):
        assert other.find(KEYS) == {}


def _flip(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGES = {
    "cut": lambda data: data[:-20],
    "empty": lambda data: data[:0],
    "another file": lambda data: data[:4] + b"nonsense" * 9 + data[-4:],
    "a key's bit": lambda data: _flip(data, data.index(KEYS[7])),
    "a feature's bit": lambda data: _flip(data, data.index(ROWS[7].tobytes())),
    "the footer's length": lambda data: _flip(data, len(data) - 8),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_set_aside_and_the_others_serve(cache, damage):
    """Its rows are missing, so they are computed again; its bytes are kept as *.corrupt; the warning names it."""
    cache.add(KEYS[:20], ROWS[:20])
    [path] = cache._files()
    cache.add(KEYS[20:], ROWS[20:])
    filesystem = cache._filesystem
    damaged = damage(filesystem.cat_file(path))
    filesystem.pipe_file(path, damaged)

    with pytest.warns(RuntimeWarning, match=rf"{Path(path).name} is cut or altered .*set aside"):
        assert same(cache.find(KEYS), KEYS[20:])
    assert filesystem.cat_file(f"{path}.corrupt") == damaged

    cache.add(KEYS[:20], ROWS[:20])
    assert same(cache.find(KEYS), KEYS)


@pytest.mark.parametrize("column", ["key", "vector"])
def test_a_file_written_anew_with_other_values_is_set_aside(tmp_path, column):
    """It is sound Parquet, checksums of pages and all, and still not what was stored."""
    cache = RowCache(tmp_path, "space")
    cache.add(KEYS, ROWS)
    [path] = (tmp_path / "space").iterdir()
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index(column), table.field(column), table[column].take(ORDER)), path)

    with pytest.warns(RuntimeWarning, match=r"its (keys|features) are not those that were written"):
        assert cache.find(KEYS) == {}


def test_a_file_that_does_not_arrive_is_not_called_damaged(cache, monkeypatch):
    """A failing disk or network is an error of its own, and the file stays where it is."""
    cache.add(KEYS, ROWS)

    def fail(*arguments, **options):
        raise ConnectionResetError("the store hung up")

    with monkeypatch.context() as patch:
        patch.setattr(cache._filesystem, "open", fail)
        patch.setattr(cache._filesystem, "cat_file", fail)
        with pytest.raises(ConnectionResetError):
            cache.find(KEYS)
    assert same(cache.find(KEYS), KEYS)


def test_a_killed_writer_leaves_nothing_that_is_read(cache, monkeypatch):
    """When the rename never happens, no row is found and none is damaged."""

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", die)
    monkeypatch.setattr(type(cache._filesystem), "mv", die)
    with pytest.raises(KeyboardInterrupt):
        cache.add(KEYS, ROWS)
    monkeypatch.undo()

    assert cache.find(KEYS) == {}
    cache.add(KEYS, ROWS)
    assert same(cache.find(KEYS), KEYS)


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    """The error says what was to be stored, where, and what to do; nothing half-written remains."""
    cache = RowCache(tmp_path, "space")
    cache.add(KEYS[:10], ROWS[:10])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tunewise.artifacts.os.fsync", full)
    with pytest.raises(ArtifactError, match=r"20 features cannot be stored in .*space: .*No space left.*TUNEWISE_HOME"):
        cache.add(KEYS[10:], ROWS[10:])
    assert len(names(tmp_path)) == 1
    assert same(cache.find(KEYS), KEYS[:10])


def test_addresses_and_foreign_paths_name_the_same_folder(tmp_path):
    """A path, its text, a file address and an object with a filesystem of its own lead to one folder."""
    RowCache(tmp_path, "space").add(KEYS, ROWS)

    class Foreign:
        fs = fsspec.filesystem("file")
        path = str(tmp_path)

    for root in (str(tmp_path), f"file://{tmp_path}", Foreign()):
        assert same(RowCache(root, "space").find(KEYS), KEYS)


_WRITER = """
import sys
import numpy as np
from tunewise.embeddings.cache import RowCache, key_of
cache = RowCache(sys.argv[1], "space")
for i in range(int(sys.argv[2]), 30, 3):
    key, row = key_of(f"text {i}"), np.full((1, 5), i, dtype=np.float32)
    cache.add([key], row)
    assert np.array_equal(cache.find([key])[key], row[0])
"""


def test_several_processes_share_a_folder(tmp_path):
    """Three processes write and read at once; every row of theirs is found, and no file is damaged."""
    processes = [subprocess.Popen([sys.executable, "-W", "error", "-c", _WRITER, tmp_path, str(i)]) for i in range(3)]

    assert [process.wait() for process in processes] == [0, 0, 0]
    found = RowCache(tmp_path, "space").find(KEYS)
    assert [found[key].tolist() for key in KEYS] == [[i] * 5 for i in range(30)]
    assert len(names(tmp_path)) == 30


def test_keys_of_pairs():
    """A pair's key tells where the first text ends, and is never a single text's; any text has a key."""
    keys = [key_of(text) for text in ("ab", "a", ("a", "b"), ("ab", ""), ("", "ab"), ("b", "a"), "", ("", ""), "\ud800")]

    assert len(set(keys)) == len(keys)
    assert {len(key) for key in keys} == {16}
    assert key_of(("a", "b")) == key_of(("a", "b"))
