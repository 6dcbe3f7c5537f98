"""A package index in a folder, and one over HTTP on loopback."""

import io
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tunewise.artifacts import sha256_of_file
from tunewise.study import PackageFile


def tar_bytes(files):
    """Return a .tar.gz with ``files``: name to bytes, or to a prepared `tarfile.TarInfo`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zip_bytes(files):
    """Return a zip with ``files``: name to bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.fixture
def pack():
    """Writers of archives in memory, by format."""
    return {"tar": tar_bytes, "zip": zip_bytes}


class Index:
    """A folder of package archives that pip is set to, and nothing else."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def add(self, file_name, content):
        """Store an archive and return its hash."""
        (self.folder / file_name).write_bytes(content)
        return sha256_of_file(self.folder / file_name)

    def source_archive(self, package="corpus", version="1.0", **files):
        """Store a source archive whose setup.py fails, and return its hash."""
        top = f"{package}-{version}"
        content = {"setup.py": b"raise SystemExit('setup.py was run')", "data/texts.csv": b"text,label\na,b\n", **files}
        return self.add(f"{top}.tar.gz", tar_bytes({f"{top}/{name}": data for name, data in content.items()}))

    def wheel(self, package="corpus", version="1.0", **files):
        """Store a wheel and return its hash."""
        about = f"{package}-{version}.dist-info"
        content = {
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n".encode(),
            f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{about}/RECORD": b"",
        }
        return self.add(f"{package}-{version}-py3-none-any.whl", zip_bytes({**content, **files}))


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An empty index in a folder; pip asks no other."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return Index(tmp_path / "index")


class Handler(SimpleHTTPRequestHandler):
    """Serves the index's folder as one page of links, and can hang up in the middle of an archive."""

    def log_message(self, *args):
        """Say nothing."""

    def do_GET(self):
        """Answer, counting the archives that were asked for."""
        if self.path.endswith("/"):
            links = "".join(f'<a href="/{path.name}">{path.name}</a>' for path in self.server.folder.iterdir())
            return self.answer(f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html")
        self.server.n_downloads += 1
        content = (self.server.folder / self.path.strip("/")).read_bytes()
        return self.answer(content, "application/octet-stream", cut=len(content) // 2 if self.server.hangs_up else None)

    def answer(self, content, kind, cut=None):
        """Send headers for all of ``content`` and its first ``cut`` bytes."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True


@pytest.fixture
def served(index, monkeypatch):
    """The index over HTTP; ``served.hangs_up`` makes it cut archives in the middle."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(index.folder)))
    server.folder, server.n_downloads, server.hangs_up = index.folder, 0, False
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def package_file():
    """Returns a package file of the package ``corpus`` 1.0."""

    def build(sha256, member="data/texts.csv"):
        return PackageFile(package="corpus", version="1.0", sha256=sha256, member=member)

    return build
