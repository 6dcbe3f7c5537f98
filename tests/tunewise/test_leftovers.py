"""What dead processes left goes; what the living write, and what may be gone on from, stays."""

import os
import subprocess
import sys
import time

import pytest

from tunewise import leftovers
from tunewise.artifacts import new_folder
from tunewise.claims import claim_file, claimed, work_folder
from tunewise.errors import BusyError
from tunewise.leftovers import FOREIGN_SECONDS, WORK_SECONDS, clear_once, remove_leftovers
from tunewise.staging import is_deserted, staging_beside

WRITER = """
import os, sys
from pathlib import Path
from tunewise.artifacts import new_folder
with new_folder(Path(sys.argv[1]), "toy") as folder:
    (folder / "half").write_text("half")
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), 9)
    print("writing", flush=True)
    sys.stdin.read()
"""


def writer(target, fate):
    """Start a process that writes a folder until its input ends, or that is killed while it does."""
    command = [sys.executable, "-c", WRITER, str(target), fate]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def age(path, seconds):
    """Make a file or folder, and all below it, older."""
    then = time.time() - seconds
    for one in [*path.rglob("*"), path]:
        os.utime(one, (then, then))


def test_the_dead_writer_s_folder_goes_and_the_living_one_s_stays(home):
    """Both stand beside the same target; the living one ends whole."""
    target = home.artifacts / "toy" / "key"
    dead = writer(target, "killed")
    dead.wait(timeout=30)
    left = next(target.parent.iterdir())
    with writer(target, "lives") as living:
        assert living.stdout.readline() == "writing\n"
        assert remove_leftovers(home) == [left]
        assert len(list(target.parent.iterdir())) == 1
        living.communicate("", timeout=30)
    assert [path.name for path in target.parent.iterdir()] == ["key"]


def test_half_written_files_of_dead_processes_go(home, tmp_path):
    """Also deep in a study's folder, but nothing inside a finished artefact is looked at, nor another's hidden file."""
    (home.study("toy") / "latest").mkdir(parents=True)
    dead = subprocess.run(
        [sys.executable, "-c", "from tunewise.staging import *; print(staging_beside(Path('pointer.json')).name)"],
        capture_output=True,
        text=True,
        check=True,
    )
    left = home.study("toy") / "latest" / dead.stdout.strip()
    left.write_text("half")
    (home.study("toy") / "latest" / ".hidden").write_text("a user's")
    with new_folder(home.artifacts / "toy" / "key", "toy") as folder:
        (folder / left.name).write_text("kept")

    assert is_deserted(left)
    assert remove_leftovers(home) == [left]
    assert (home.study("toy") / "latest" / ".hidden").exists()
    assert (home.artifacts / "toy" / "key" / left.name).exists()


def test_a_number_that_was_given_to_another_process_is_no_sign_of_life(home):
    """The process started at another time, so the writer is gone."""
    ours = staging_beside(home.root / "file")
    _, process, started = ours.name.split(".")[2].split("-")
    other = ours.with_name(ours.name.replace(f"-{started}.", f"-{int(started) - 1000}."))

    assert process == str(os.getpid())
    assert is_deserted(ours) is False
    assert is_deserted(other) is True


def test_another_machine_s_writer_is_judged_by_age(home):
    """It cannot be asked, so a day without a change is waited for."""
    ours = staging_beside(home.artifacts / "toy" / "key")
    foreign = ours.with_name(ours.name.replace(ours.name.split(".")[2].split("-")[0], "0123abcd"))
    foreign.mkdir(parents=True)
    (foreign / "half").write_text("half")

    assert is_deserted(foreign) is None
    assert remove_leftovers(home) == []
    age(foreign, FOREIGN_SECONDS + 60)
    assert remove_leftovers(home) == [foreign]


def test_checkpoints_stay_until_they_are_old_or_their_outcome_is_there(home):
    """An interrupted fit can be gone on from for a week; what is held by a living process is never touched."""
    names = ["fresh", "old", "held", "done"]
    for name in names:
        folder = work_folder(name, home)
        folder.mkdir(parents=True)
        (folder / "checkpoint").write_text("x")
        if name in {"old", "held"}:
            age(folder, WORK_SECONDS + 60)
    with new_folder(home.artifacts / "outcomes" / "done", "outcome") as folder:
        (folder / "outcome.json").write_text("{}")
    with claimed("held", home):
        removed = remove_leftovers(home)

        assert sorted(path.name for path in removed) == ["done", "old"]
        assert claim_file("held", home).exists()
    assert sorted(path.name for path in home.work.iterdir() if path.is_dir()) == ["fresh", "held"]


def test_claims_that_nobody_holds_leave_no_file(home):
    """Thousands of fits do not become thousands of lock files; a claim that is held stays held."""
    for i in range(5):
        with claimed(f"key{i}", home):
            pass
    with claimed("held", home):
        remove_leftovers(home)
        with pytest.raises(BusyError, match="Another process is at work on held"), claimed("held", home, waits=False):
            pass

    assert [path.name for path in home.work.iterdir()] == ["held.lock"]


def test_it_is_done_once_per_process_and_never_in_the_way(home, monkeypatch):
    """A folder that cannot be read is no reason to fail a run."""
    seen = []

    def fail(home):
        seen.append(home)
        raise PermissionError

    monkeypatch.setattr(leftovers, "remove_leftovers", fail)
    clear_once(home)
    clear_once(home)

    assert seen == [home]
