"""Folders that are either whole or absent."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tunewise import artifacts
from tunewise.artifacts import (
    MANIFEST,
    ArtifactRef,
    is_sound,
    is_whole,
    new_folder,
    read_folder,
    set_aside_damaged,
    sha256_of_file,
    sha256_of_json,
    verify_hashes,
    write_atomically,
)
from tunewise.errors import ArtifactError


@pytest.fixture
def stored(tmp_path):
    """A finished folder with two files."""
    with new_folder(tmp_path / "thing", "toy") as folder:
        (folder / "a.txt").write_text("abc")
        (folder / "deep").mkdir()
        (folder / "deep" / "b.txt").write_text("defg")
    return tmp_path / "thing"


def leftovers(folder):
    """Return what beside ``thing`` is left."""
    return [path.name for path in folder.iterdir() if path.name != "thing"]


def test_a_hash_worked_by_hand(tmp_path):
    """The sha256 of ``abc`` is the one of FIPS 180-2, of an empty file the well-known one."""
    (tmp_path / "abc").write_bytes(b"abc")
    (tmp_path / "empty").write_bytes(b"")

    assert sha256_of_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of_file(tmp_path / "empty").startswith("e3b0c44298fc1c14")


def test_equal_json_has_one_hash():
    """The order of keys is nothing, the order of a list and the kind of a number are."""
    assert sha256_of_json({"a": 1, "b": [1, 2]}) == sha256_of_json({"b": (1, 2), "a": 1})
    values = [{"a": 1}, {"a": "1"}, {"a": 1.0}, {"a": True}, {"a": None}, {"a": [1]}, {"a": [1, 2]}, {"a": [2, 1]}, {}, []]
    assert len({sha256_of_json(value) for value in values}) == len(values)


@pytest.mark.parametrize("value", [{1: "a"}, [{"a": {None: 1}}], {"a": {1, 2}}, float("nan"), ({"b": {("x",): 1}},)])
def test_what_is_no_json_has_no_hash(value):
    """Keys that JSON would turn into text could look like other keys, so they are refused at any depth."""
    with pytest.raises((TypeError, ValueError)):
        sha256_of_json(value)


def test_a_reference_tells_what_is_stored(stored):
    """Bytes are counted without the manifest, the kind is kept, and JSON gives the reference back."""
    ref = read_folder(stored)

    assert (ref.bytes, ref.kind, ref.folder) == (7, "toy", stored)
    assert ArtifactRef(**json.loads(json.dumps(ref.to_json()))) == ref


def test_one_content_has_one_hash(tmp_path, stored):
    """Another place and another time give the same hash, another byte or another name a different one."""

    def store(name, **files):
        with new_folder(tmp_path / name, "toy") as folder:
            (folder / "deep").mkdir()
            for file, text in files.items():
                (folder / file.replace("__", "/").replace("_", ".")).write_text(text)
        return read_folder(tmp_path / name).sha256

    hashes = [
        store("same", deep__b_txt="defg", a_txt="abc"),
        store("byte", deep__b_txt="defg", a_txt="abd"),
        store("name", deep__b_txt="defg", c_txt="abc"),
        store("fewer", a_txt="abc"),
    ]
    assert hashes[0] == read_folder(stored).sha256
    assert len(set(hashes)) == 4


def test_an_error_inside_the_block_leaves_nothing(tmp_path):
    """Neither the target nor a staging folder stays."""

    def write_half():
        with new_folder(tmp_path / "thing", "toy") as folder:
            (folder / "a.txt").write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_seen_before_the_end(tmp_path):
    """While the block runs there is no target, so no reader takes a part for the whole."""
    with new_folder(tmp_path / "thing", "toy") as folder:
        (folder / "a.txt").write_text("half")
        assert not (tmp_path / "thing").exists()
        assert not is_whole(folder)
    assert is_whole(tmp_path / "thing")
    assert leftovers(tmp_path) == []


def test_the_first_to_finish_stands(stored, tmp_path):
    """A second writer of the same target is dropped without an error."""
    before = read_folder(stored)
    with new_folder(stored, "toy") as folder:
        (folder / "a.txt").write_text("other")

    assert read_folder(stored) == before
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("n_writers", [8])
def test_writers_that_finish_together_leave_one_whole_folder(tmp_path, n_writers):
    """Also where a broken folder stands in the way, every writer ends well and one result stands."""
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "broken").write_text("x")
    barrier = threading.Barrier(n_writers)

    def write(i):
        with new_folder(tmp_path / "thing", "toy") as folder:
            (folder / "a.txt").write_text("same")
            barrier.wait()

    with ThreadPoolExecutor(n_writers) as pool:
        list(pool.map(write, range(n_writers)))
    assert read_folder(tmp_path / "thing").bytes == 4
    assert leftovers(tmp_path) == []


def test_a_broken_folder_that_another_cleared_away_is_no_error(tmp_path, monkeypatch):
    """Between seeing a broken folder and moving it, another process may have moved it."""
    target = tmp_path / "thing"
    target.mkdir()

    def clear_then_say_broken(folder):
        if folder == target and target.exists():
            target.rmdir()
            return False
        return is_whole(folder)

    monkeypatch.setattr(artifacts, "is_whole", clear_then_say_broken)
    with new_folder(target, "toy") as folder:
        (folder / "a.txt").write_text("abc")
    assert is_whole(target)


def spoil_manifest(folder):
    """Cut the manifest in half."""
    (folder / MANIFEST).write_text((folder / MANIFEST).read_text()[:20])


DAMAGES = {
    "missing": (lambda f: (f / "a.txt").unlink(), r"does not hold what its manifest.json lists: see a.txt. Delete the folder"),
    "cut": (lambda f: (f / "a.txt").write_text("ab"), r"see a.txt"),
    "unlisted": (lambda f: (f / "deep" / "new").write_text(""), r"see deep/new"),
    "no manifest": (lambda f: (f / MANIFEST).unlink(), r"holds no readable manifest.json, so it is not a finished artefact"),
    "cut manifest": (spoil_manifest, r"holds no readable manifest.json"),
    "odd manifest": (lambda f: (f / MANIFEST).write_text("[1]"), r"holds no readable manifest.json"),
    "link": (lambda f: (f / "link").symlink_to(f / "a.txt"), r"link is a link; an artefact holds its bytes itself"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_seen_without_reading_the_bytes(stored, name):
    """A missing, cut, added or linked file and a damaged manifest are each named."""
    damage, message = DAMAGES[name]
    damage(stored)

    assert not is_whole(stored)
    with pytest.raises(ArtifactError, match=message):
        read_folder(stored)


def test_a_broken_folder_is_replaced(stored, tmp_path):
    """What is not whole does not stand in the way of what is."""
    (stored / "a.txt").unlink()
    with new_folder(stored, "toy") as folder:
        (folder / "c.txt").write_text("new")

    assert [path.name for path in stored.iterdir() if path.name != MANIFEST] == ["c.txt"]
    assert leftovers(tmp_path) == []


def test_a_changed_byte_is_found_by_its_hash(stored):
    """A file of the right size with another byte passes the quick look and fails the thorough one."""
    verify_hashes(stored)
    (stored / "a.txt").write_text("abd")

    assert is_whole(stored)
    with pytest.raises(ArtifactError, match=r"a.txt was altered after it was written. Delete .*thing; it will be made again"):
        verify_hashes(stored)


def test_a_large_file_is_hashed_where_it_was_written_after_the_folder_was_closed(stored):
    """Below the limit every file is; above it one that is older than the manifest is taken to be what it was."""
    manifest, file = stored / MANIFEST, stored / "a.txt"
    before = file.stat().st_mtime_ns
    file.write_text("abd")
    os.utime(file, ns=(before, before))

    verify_hashes(stored, hashed_bytes=2)
    with pytest.raises(ArtifactError, match=r"a.txt was altered"):
        verify_hashes(stored, hashed_bytes=3)
    os.utime(file, ns=(before, manifest.stat().st_mtime_ns + 1))
    with pytest.raises(ArtifactError, match=r"a.txt was altered"):
        verify_hashes(stored, hashed_bytes=2)


def test_what_is_not_sound_is_set_aside(stored, tmp_path, caplog):
    """The log says why and where to, the place is free, and what is sound or absent is left alone."""
    set_aside_damaged(stored)
    set_aside_damaged(tmp_path / "absent")
    assert is_sound(stored)
    assert caplog.text == ""
    (stored / "a.txt").write_text("abd")
    assert not is_sound(stored)
    set_aside_damaged(stored)

    assert "a.txt was altered after it was written" in caplog.text
    assert not stored.exists()
    assert len(leftovers(tmp_path)) == 1


def test_a_file_is_old_or_new_and_never_half(tmp_path):
    """A reader in between sees whole contents only, and no staging file stays."""
    path = tmp_path / "deep" / "state.json"
    texts = {letter * 200_000 for letter in "ab"}
    write_atomically(path, "a" * 200_000)
    seen = set()
    done = threading.Event()

    def read():
        while not done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for letter in "babab":
        write_atomically(path, letter * 200_000)
    done.set()
    reader.join()

    assert seen <= texts
    assert [file.name for file in path.parent.iterdir()] == ["state.json"]


def test_a_failed_write_keeps_the_old_bytes(tmp_path, monkeypatch):
    """Where the disk fills up, the old file stands and no staging file stays."""
    path = tmp_path / "state.json"
    write_atomically(path, b"old")

    def fail(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifacts.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")

    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
