"""Taking members out of archives."""

import tarfile
import zipfile

import pytest

from tunewise.contracts import no_progress
from tunewise.errors import SourceError
from tunewise.sources.unpacking import extract_file, extract_folder

FILES = {"top-1/a.txt": b"one", "top-1/data/b.csv": b"two", "top-1/data/deep/c.csv": b"three"}


@pytest.fixture(params=["tar", "zip"])
def write(request, tmp_path, pack):
    """Writes an archive of either format; its name says nothing of it."""

    def write_it(files):
        path = tmp_path / "archive"
        path.write_bytes(pack[request.param](files))
        return path

    return write_it


def files_below(folder):
    """Return name to bytes of every file below ``folder``."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("member", ["top-1/data/b.csv", "data/b.csv"])
def test_the_single_top_folder_may_be_left_out(write, tmp_path, member):
    """A source archive's folder with the version in its name need not be written."""
    extract_file(write(FILES), member, tmp_path / "out", no_progress)

    assert (tmp_path / "out").read_bytes() == b"two"


@pytest.mark.parametrize("member", ["top-1/data", "data/", "data"])
def test_a_folder_comes_whole_and_alone(write, tmp_path, member):
    """Everything below it and nothing beside it is written."""
    (tmp_path / "out").mkdir()
    extract_folder(write(FILES), member, tmp_path / "out", no_progress)

    assert files_below(tmp_path / "out") == {"b.csv": b"two", "deep/c.csv": b"three"}


def test_a_folder_is_no_prefix(write, tmp_path):
    """``data`` does not mean ``data_old``."""
    (tmp_path / "out").mkdir()
    extract_folder(write({**FILES, "top-1/data_old/x": b"old"}), "data", tmp_path / "out", no_progress)

    assert set(files_below(tmp_path / "out")) == {"b.csv", "deep/c.csv"}


def test_an_archive_inside_an_archive(write, tmp_path, pack):
    """``outer!inner`` reaches in, as deep as one likes, and leaves no copy of the outer ones."""
    inner = pack["tar"]({"x/inner.zip": pack["zip"]({"table.csv": b"deep"})})
    archive = write({"pkg/inner.tar.gz": inner})
    (tmp_path / "out").mkdir()
    extract_file(archive, "inner.tar.gz!x/inner.zip!table.csv", tmp_path / "out" / "table.csv", no_progress)

    assert files_below(tmp_path / "out") == {"table.csv": b"deep"}


def test_progress_ends_at_the_total(write, tmp_path):
    """Bytes are counted over all files of a folder, never backwards."""
    seen = []
    (tmp_path / "out").mkdir()
    extract_folder(write(FILES), "data", tmp_path / "out", lambda _, done, total: seen.append((done, total)))

    assert seen[-1] == (8, 8)
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("data/b.tsv", r"holds no member 'data/b.tsv'. Nearest are: .*data/b.csv"),
        ("wrong/b.csv", r"holds no member 'wrong/b.csv'. Nearest are: top-1/data/b.csv"),
        ("data", r"data is a folder in archive; a file is needed here"),
        ("a.txt!b", r"a.txt is neither a zip nor a tar archive"),
    ],
)
def test_a_missing_file_is_answered_with_the_nearest(write, tmp_path, member, message):
    """The error names members that are there; nothing is written."""
    with pytest.raises(SourceError, match=message):
        extract_file(write(FILES), member, tmp_path / "out", no_progress)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("member", "message"),
    [("a.txt", r"'a.txt' is needed from archive; it is a file"), ("date", r"it is not there. Nearest are: .*data")],
)
def test_a_missing_folder_is_answered_with_the_nearest(write, tmp_path, member, message):
    """A file where a folder is needed is said to be one."""
    with pytest.raises(SourceError, match=message):
        extract_folder(write(FILES), member, tmp_path, no_progress)


@pytest.mark.parametrize("name", ["../evil", "x/../../evil", "..\\evil", "C:evil", "//evil"])
def test_no_name_leads_outside(write, tmp_path, name):
    """A member that would be written elsewhere stops the unpacking, and elsewhere nothing appears."""
    archive = write({f"data/{name}": b"evil", "data/good": b"good"})
    (tmp_path / "a" / "out").mkdir(parents=True)

    with pytest.raises(SourceError, match=r"leads outside the folder"):
        extract_folder(archive, "data", tmp_path / "a" / "out", no_progress)
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_no_link_and_no_device_is_followed(tmp_path, kind, pack):
    """A link to a secret is refused as a member of its own and inside a folder."""
    (tmp_path / "secret").write_bytes(b"secret")
    info = tarfile.TarInfo("data/link")
    info.type, info.linkname = kind, str(tmp_path / "secret")
    (tmp_path / "archive").write_bytes(pack["tar"]({"data/link": info}))
    (tmp_path / "out").mkdir()

    with pytest.raises(SourceError, match=r"data/link is a link or a device.*not followed"):
        extract_file(tmp_path / "archive", "data/link", tmp_path / "out" / "x", no_progress)
    with pytest.raises(SourceError, match=r"data/link is a link or a device"):
        extract_folder(tmp_path / "archive", "data", tmp_path / "out", no_progress)
    assert files_below(tmp_path / "out") == {}


def test_no_link_of_a_zip_is_followed(tmp_path):
    """A zip marks links in a field of its own."""
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr(info, "/etc/passwd")

    with pytest.raises(SourceError, match=r"link is a link or a device"):
        extract_file(tmp_path / "archive", "link", tmp_path / "out", no_progress)


def test_a_damaged_archive_is_named(write, tmp_path):
    """Bytes changed in the middle are found when the member is read."""
    archive = write({"a": bytes(range(256)) * 400, "b": b"x"})
    content = bytearray(archive.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 40] = b"\0" * 40
    archive.write_bytes(content)

    with pytest.raises(SourceError, match=r"archive is damaged and cannot be read"):
        extract_file(archive, "a", tmp_path / "out", no_progress)
