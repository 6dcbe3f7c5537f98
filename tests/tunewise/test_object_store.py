"""A shared place holds folders whole or not at all, and work goes on without it."""

import json
import os

import fsspec
import pytest

from tunewise import object_store
from tunewise.artifacts import MANIFEST, is_whole, new_folder
from tunewise.errors import ArtifactError
from tunewise.object_store import PLACE_ENV, ROWS_ENV, ObjectStore, is_at_hand, rows_place, share

NAME = "outcomes/" + "a" * 64


@pytest.fixture(params=["file", "memory"])
def address(request, tmp_path):
    """An empty place: on a disk, and in memory, where no rename makes a file appear at once."""
    if request.param == "file":
        return f"file://{tmp_path}/bucket"
    fsspec.filesystem("memory").store.clear()
    return "memory://bucket"


@pytest.fixture
def folder(home):
    """A stored folder with files in two levels."""
    target = home.artifacts / NAME
    with new_folder(target, "outcome") as staging:
        (staging / "artefact").mkdir()
        (staging / "artefact" / "weights").write_bytes(b"w" * 5000)
        (staging / "outcome.json").write_text('{"made": "here"}')
    return target


def test_what_is_pushed_is_pulled_byte_for_byte(address, folder, tmp_path):
    """A folder comes back with the same files and is whole; one that is not there does not come."""
    store, copy = ObjectStore(address), tmp_path / "copy"
    store.push(folder, NAME)

    assert store.pull(NAME, copy)
    assert (copy / "artefact" / "weights").read_bytes() == b"w" * 5000
    assert json.loads((copy / MANIFEST).read_text()) == json.loads((folder / MANIFEST).read_text())
    assert not store.pull("outcomes/other", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_manifest_is_written_last(address, folder, tmp_path, monkeypatch):
    """A writer that ends before its manifest leaves nothing that can be read; the next one's folder is whole."""
    store = ObjectStore(address)
    with monkeypatch.context() as patch:
        patch.setattr(object_store, "_write_at_once", _dies)
        with pytest.raises(KeyboardInterrupt):
            store.push(folder, NAME)
    assert not store.pull(NAME, tmp_path / "copy")

    store.push(folder, NAME)
    assert store.pull(NAME, tmp_path / "copy")


def test_a_writer_that_ends_between_files_leaves_nothing_to_read(address, folder, tmp_path, monkeypatch):
    """No manifest leads to a part of the files, so a reader finds no folder rather than a broken one."""
    store, (files, _) = ObjectStore(address), object_store._open(address)
    put, calls = files.put_file, []

    def dies_at_the_second(*arguments):
        calls.append(arguments)
        return put(*arguments) if len(calls) == 1 else _dies()

    monkeypatch.setattr(files, "put_file", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        store.push(folder, NAME)

    assert len(calls) == 2
    assert not store.pull(NAME, tmp_path / "copy")


def test_of_two_writers_either_ones_folder_is_whole(address, folder, home, tmp_path, monkeypatch):
    """Two that made the same key with other bytes do not mix: the manifest that stands leads to the files it lists."""
    other = home.artifacts / "second" / "b"
    with new_folder(other, "outcome") as staging:
        (staging / "outcome.json").write_text('{"made": "there, with other seconds"}')
    store = ObjectStore(address)
    with monkeypatch.context() as patch:
        # Neither sees the other's manifest before it writes its own.
        patch.setattr(ObjectStore, "_manifest", lambda *_: None)
        store.push(folder, NAME)
        store.push(other, NAME)

    assert store.pull(NAME, tmp_path / "copy")
    assert is_whole(tmp_path / "copy")
    assert (tmp_path / "copy" / "outcome.json").read_bytes() == (other / "outcome.json").read_bytes()


def test_what_is_there_stands(address, folder, home, tmp_path):
    """A second push of a key changes nothing, whatever it holds: outcomes are never edited."""
    store = ObjectStore(address)
    store.push(folder, NAME)
    other = home.artifacts / "second" / "b"
    with new_folder(other, "outcome") as staging:
        (staging / "outcome.json").write_text('{"made": "there"}')
    files, root = fsspec.url_to_fs(address)
    before = sorted(files.find(root))
    store.push(other, NAME)

    assert sorted(files.find(root)) == before
    assert store.pull(NAME, tmp_path / "copy")
    assert (tmp_path / "copy" / "outcome.json").read_text() == '{"made": "here"}'


def test_bytes_that_were_altered_there_are_refused(address, folder, tmp_path):
    """Every byte is compared with the manifest before a folder appears here."""
    store = ObjectStore(address)
    store.push(folder, NAME)
    files, root = fsspec.url_to_fs(address)
    (altered,) = [path for path in files.find(root) if path.endswith("weights")]
    files.pipe_file(altered, b"v" * 5000)

    with pytest.raises(ArtifactError, match=r"artefact/weights is not what was stored\. Delete outcomes/a+ there"):
        store.pull(NAME, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/../../evil"])
def test_a_manifest_that_leads_out_of_its_folder_is_refused(address, folder, tmp_path, name):
    """Whoever may write to the shared place still cannot write elsewhere here."""
    store = ObjectStore(address)
    store.push(folder, NAME)
    files, root = fsspec.url_to_fs(address)
    manifest = json.loads(files.cat_file(f"{root}/{NAME}/{MANIFEST}"))
    manifest["files"][0]["name"] = name
    files.pipe_file(f"{root}/{NAME}/{MANIFEST}", json.dumps(manifest).encode())

    with pytest.raises(ArtifactError, match="leads out of it"):
        store.pull(NAME, tmp_path / "copy")
    assert not list(tmp_path.rglob("evil"))


def test_a_folder_that_is_not_whole_is_not_pushed(address, folder):
    """What lost a file here is not passed on."""
    (folder / "outcome.json").unlink()

    with pytest.raises(ArtifactError, match="does not hold what its manifest"):
        ObjectStore(address).push(folder, NAME)


def test_another_home_finds_what_one_stored(address, folder, home, tmp_path, monkeypatch):
    """With the variable set a stored folder is sent once, and is at hand in a home that never made it."""
    monkeypatch.setenv(PLACE_ENV, address)
    second = type(home)(tmp_path / "second")
    share(folder, home)

    assert is_at_hand(second.artifacts / NAME, second)
    assert is_whole(second.artifacts / NAME)
    assert not is_at_hand(second.artifacts / "outcomes" / ("b" * 64), second)


def test_what_was_made_before_the_place_was_named_is_sent_at_its_next_use(address, folder, home, tmp_path, monkeypatch):
    """Naming a place later, or another one, needs no copying by hand."""
    monkeypatch.setenv(PLACE_ENV, address)

    assert is_at_hand(folder, home)
    assert ObjectStore(address).pull(NAME, tmp_path / "copy")


def test_without_a_place_nothing_is_sent(folder, home, monkeypatch):
    """Unset, nothing but the home folder is looked at."""
    monkeypatch.delenv(PLACE_ENV, raising=False)
    share(folder, home)

    assert is_at_hand(folder, home)
    assert not (home.root / "shared").exists()


def test_lists_of_places_in_this_home_are_not_shared(home, tmp_path, monkeypatch):
    """Which folders a variant's seeds lie in is said by paths, which another home has not."""
    monkeypatch.setenv(PLACE_ENV, f"file://{tmp_path}/bucket")
    folder = home.artifacts / "fits" / ("a" * 64)
    with new_folder(folder, "fits") as staging:
        (staging / "fits.json").write_text("[]")
    share(folder, home)

    assert is_at_hand(folder, home)
    assert not (tmp_path / "bucket").exists()


def test_work_goes_on_while_the_place_is_away(folder, home, tmp_path, monkeypatch, caplog):
    """A failure is said, without the login; what is here is used, and sent when the place is back."""
    monkeypatch.setenv(PLACE_ENV, "file:///proc/none/me:sesame@bucket")
    missing = home.artifacts / "outcomes" / ("b" * 64)
    assert is_at_hand(folder, home)
    object_store._away_until.clear()
    assert not is_at_hand(missing, home)
    assert "cannot be used" in caplog.text
    assert "kept here, and sent when it is used next" in caplog.text

    monkeypatch.setenv(PLACE_ENV, f"file://{tmp_path}/bucket")
    assert is_at_hand(folder, home)
    assert ObjectStore(f"file://{tmp_path}/bucket").pull(NAME, tmp_path / "copy")


def test_a_place_that_was_away_is_left_alone_for_a_minute(folder, home, monkeypatch):
    """One folder waits for it, the next ones do not."""
    asked = []
    monkeypatch.setenv(PLACE_ENV, "memory://gone")
    monkeypatch.setattr(ObjectStore, "pull", lambda *_: asked.append("pull") or _is_away())
    monkeypatch.setattr(object_store, "_away_until", {})
    for letter in "bcd":
        assert not is_at_hand(home.artifacts / "outcomes" / (letter * 64), home)
    assert is_at_hand(folder, home)
    assert asked == ["pull"]

    monkeypatch.setattr(object_store, "_away_until", {"memory://gone": 0.0})
    assert not is_at_hand(home.artifacts / "outcomes" / ("b" * 64), home)
    assert len(asked) == 2


def test_a_scheme_that_nothing_here_opens_is_named(folder, monkeypatch):
    """The error says which variable and what to install."""
    with pytest.raises(ArtifactError, match=r"TUNEWISE_ARTIFACTS=carrier://\*\*\*@pigeon cannot be opened.*pip install"):
        ObjectStore("carrier://me:sesame@pigeon").push(folder, NAME)


def test_use_is_noted(folder, home):
    """Being found sets the folder's time, by which cleaning tells what is used."""
    os.utime(folder, (1e9, 1e9))
    assert is_at_hand(folder, home)
    assert folder.stat().st_mtime > 1.7e9


def test_rows_go_where_their_variable_says(home, monkeypatch):
    """The row cache has an address of its own, since it is read in place."""
    assert rows_place(home) == home.embeddings
    monkeypatch.setenv(ROWS_ENV, "s3://bucket/rows/")
    assert rows_place(home) == "s3://bucket/rows"


def _is_away():
    raise ArtifactError("no route")


def _dies(*_):
    raise KeyboardInterrupt
