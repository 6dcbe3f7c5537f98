"""Cleaning takes what no study names and nobody holds, and nothing else."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tunewise import cleaning
from tunewise.artifacts import is_whole, new_folder, write_atomically
from tunewise.claims import claimed, work_folder
from tunewise.cleaning import DAY_SECONDS, Limits, find_removable, remove

DAYS_40 = 40 * DAY_SECONDS


def key(letter):
    """Return a key such as folders are named by."""
    return letter * 64


@pytest.fixture
def stored(home):
    """Return a function that stores a folder of some bytes that was used some seconds ago."""

    def store(letter, *, kind="outcomes", age=DAYS_40, n_bytes=1000):
        folder = home.artifacts / kind / key(letter)
        with new_folder(folder, kind) as staging:
            (staging / "data").write_bytes(b"x" * n_bytes)
        return aged(folder, age)

    return store


def aged(path, seconds):
    """Set the times of a path and all below it."""
    when = time.time() - seconds
    for one in [*path.rglob("*"), path]:
        os.utime(one, (when, when))
    return path


def names(found):
    """Return the paths' names."""
    return {one.path.name for one in found}


def test_what_a_study_names_stays(home, stored):
    """Latest outcomes, those before them, folders that assets hand on and results that wait stay whatever their age."""
    for letter in "abcde":
        stored(letter)
    dataset = stored("f", kind="dataset")
    study = home.study("mine")
    write_atomically(study / "latest" / "lora" / "0.json", json.dumps({"key": key("a")}))
    write_atomically(study / "history" / "lora" / "0" / "2026.json", json.dumps({"key": key("b")}))
    write_atomically(study / "unsent" / "lora-0-x.json", json.dumps({"key": key("c")}))
    write_atomically(study / "references" / "dataset.json", json.dumps({"uri": str(dataset)}))

    assert names(find_removable(home, Limits())) == {key("d"), key("e")}


def test_what_was_used_lately_stays(home, stored):
    """Age counts from the last use, which sets the folder's time; nothing used within the hour ever goes."""
    stored("a")
    os.utime(stored("b"))
    stored("c", age=7200)

    assert names(find_removable(home, Limits())) == {key("a")}
    assert names(find_removable(home, Limits(older_than_seconds=0))) == {key("a"), key("c")}
    assert names(find_removable(home, Limits(keep_bytes=0))) == {key("a"), key("c")}


def test_a_bound_on_bytes_takes_the_longest_unused_first_and_no_more(home, stored):
    """Of three young ones as many go as bring what is kept below the bound."""
    for letter, days in (("a", 3), ("b", 2), ("c", 1)):
        stored(letter, age=days * DAY_SECONDS, n_bytes=1000)

    assert names(find_removable(home, Limits(keep_bytes=2500))) == {key("a")}
    assert names(find_removable(home, Limits(keep_bytes=10**6))) == set()


def test_looking_changes_nothing(home, stored):
    """Finding what may go leaves every file, name and time as it was."""
    stored("a")
    work_folder(key("b"), home).mkdir(parents=True)
    before = {path: path.stat().st_mtime_ns for path in home.root.rglob("*")}
    find_removable(home, Limits(keep_bytes=0, has_embeddings=True, has_downloads=True))

    assert {path: path.stat().st_mtime_ns for path in home.root.rglob("*")} == before


def test_removing_takes_what_was_found(home, stored):
    """The folder is gone whole, the others stand whole."""
    gone, stays = stored("a"), stored("b", age=0)
    removed = remove(find_removable(home, Limits()), home)

    assert names(removed) == {key("a")}
    assert not gone.exists()
    assert is_whole(stays)
    assert [path.name for path in gone.parent.iterdir()] == [key("b")]


def test_what_is_held_or_was_used_meanwhile_stays(home, stored):
    """A claim of a living process, or a use after the look, keeps a folder."""
    held, used = stored("a"), stored("b")
    found = find_removable(home, Limits())
    os.utime(used)
    holder = (
        "import sys, time\nfrom pathlib import Path\nfrom tunewise.claims import claimed\nfrom tunewise.home import Home\n"
        "with claimed(sys.argv[2], Home(Path(sys.argv[1]))):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", holder, str(home.root), key("a")], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        assert remove(found, home) == []
    finally:
        process.kill()
        process.communicate()
    assert is_whole(held)
    assert is_whole(used)
    assert names(remove(find_removable(home, Limits()), home)) == {key("a")}


def test_an_interrupted_cleaning_leaves_nothing_that_is_taken_for_whole(home, stored, monkeypatch):
    """A folder loses its name before it loses a file; the next cleaning takes what the killed one left."""
    folder = stored("a")
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom tunewise import cleaning\nfrom tunewise.home import Home\n"
        "cleaning.shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
        "home = Home(Path(sys.argv[1]))\ncleaning.remove(cleaning.find_removable(home, cleaning.Limits()), home)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(home.root)], check=False, timeout=60)
    (left,) = folder.parent.iterdir()

    assert ended.returncode == -signal.SIGKILL
    assert not folder.exists()
    assert left.name.startswith(".")
    assert [one.kind for one in find_removable(home, Limits())] == ["left by ended processes"]
    remove(find_removable(home, Limits()), home)
    assert not left.exists()


def test_damaged_files_and_interrupted_fits_go(home):
    """A set-aside part of the row cache goes at once, a work folder when it was long untouched."""
    write_atomically(home.embeddings / "space" / "1.parquet.corrupt", b"x")
    write_atomically(home.embeddings / "space" / "2.parquet", b"x")
    old, young = work_folder(key("a"), home), work_folder(key("b"), home)
    for folder in (old, young):
        write_atomically(folder / "checkpoint" / "state.json", "{}")
    aged(old, DAYS_40)
    aged(young, DAYS_40)
    os.utime(young / "checkpoint" / "state.json")

    assert names(find_removable(home, Limits())) == {"1.parquet.corrupt", key("a")}


def test_caches_go_only_where_they_are_asked_for(home):
    """Features, archives and models are named by nobody, and stay unless cleaning them is asked for."""
    files = [
        home.embeddings / "space" / "2.parquet",
        home.downloads / "archive.whl",
        home.backbones / "model" / "model.safetensors",
    ]
    for file in files:
        write_atomically(file, b"x")
        aged(file.parent, DAYS_40)

    assert find_removable(home, Limits()) == []
    assert names(find_removable(home, Limits(has_embeddings=True))) == {"2.parquet"}
    assert names(find_removable(home, Limits(has_downloads=True))) == {"archive.whl", "model"}


def test_what_is_none_of_ours_stays(home, stored):
    """Files and folders below the home that are not named by a key, and Dagster's and MLflow's own, are not looked at."""
    for file in (home.artifacts / "outcomes" / "notes.txt", home.artifacts / "mine" / "data", home.mlflow / ".a.corrupt"):
        write_atomically(file, b"x")
        aged(file.parent, DAYS_40)

    assert find_removable(home, Limits(older_than_seconds=0)) == []


def test_a_claim_that_this_process_holds_keeps_a_folder(home, stored):
    """Also within one process nothing that is worked on goes."""
    folder = stored("a")
    found = find_removable(home, Limits())
    with claimed(key("a"), home):
        assert remove(found, home) == []
    assert is_whole(folder)
    assert cleaning.remove(found, home) == found
