"""Models of a hub, against a tiny one on loopback that speaks its endpoints."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest

from tunewise.backbones.opening import open_backbone
from tunewise.errors import SourceError
from tunewise.sources import fetch_folder
from tunewise.study import BackboneSpec
from tunewise.testing import tiny_encoder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PREFIX = "/api/models/org/tiny"


class Hub(BaseHTTPRequestHandler):
    """Holds the repository org/tiny with one commit, known as ``main`` and ``v1``."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Say nothing."""

    def do_GET(self):
        """Answer a request of the hub's library, or none but the one it makes for telemetry."""
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        files = self.server.files
        if self.server.refusal:
            status, code = self.server.refusal
            return self.answer(b"{}", status, {"X-Error-Code": code})
        if path in (f"{PREFIX}/revision/{name}" for name in ("main", "v1", COMMIT)):
            siblings = [{"rfilename": name, "size": len(data), "blobId": blob(data)} for name, data in files.items()]
            return self.answer(json.dumps({"id": "org/tiny", "sha": COMMIT, "siblings": siblings}).encode())
        if path == f"{PREFIX}/tree/{COMMIT}":
            tree = [{"type": "file", "path": name, "size": len(data), "oid": blob(data)} for name, data in files.items()]
            return self.answer(json.dumps(tree).encode())
        name = path.removeprefix(f"/org/tiny/resolve/{COMMIT}/")
        if name in files:
            data = files[name]
            cut = len(data) // 2 if name in self.server.cut else None
            return self.answer(data, 200, {"ETag": f'"{blob(data)}"', "X-Repo-Commit": COMMIT}, cut=cut)
        code = "RevisionNotFound" if path.startswith(f"{PREFIX}/revision") else "RepoNotFound"
        return self.answer(b"{}", 404, {"X-Error-Code": code})

    do_HEAD = do_GET  # noqa: N815 - the name that the server looks for

    def answer(self, content, status=200, headers=None, cut=None):
        """Send headers for all of ``content`` and its first ``cut`` bytes."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True


def blob(data):
    """Return a file's name in git."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with a tiny encoder, a pickle beside its weights, a Python file and another format's folder."""
    model = tiny_encoder(tmp_path / "made").folder
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files = {path.name: path.read_bytes() for path in model.iterdir()}
    server.files |= {"pytorch_model.bin": b"pickle", "modeling.py": b"raise SystemExit", "onnx/config.json": b"{}"}
    server.files |= {"1_Pooling/config.json": b'{"pooling_mode": "cls"}', "README.md": b"---\nlicense: mit\n---\n"}
    server.asked, server.cut, server.refusal = [], set(), None
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetch(tmp_path, home):
    """Fetches a model folder."""
    return lambda source="hub:org/tiny@main", **options: fetch_folder(source, base=tmp_path, home=home, **options)


def test_a_model_comes_without_what_could_run(hub, fetch):
    """Weights, configuration, tokenizer and card come; pickles, code and other formats stay where they are."""
    folder = fetch()

    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "1_Pooling/config.json",
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert not [path for path in hub.asked if path.endswith((".bin", ".py"))]


def test_it_opens_as_a_backbone(hub, home, tmp_path):
    """Pooling and licence are those of the repository."""
    backbone = open_backbone(BackboneSpec(name="tiny", source="hub:org/tiny@v1"), base=tmp_path, home=home)

    assert (backbone.pooling, backbone.licence, backbone.architecture) == ("cls", "mit", "bert")


@pytest.mark.parametrize("revision", ["main", "v1", COMMIT])
def test_what_is_here_is_not_asked_for_again(hub, fetch, revision):
    """A second call makes no request, and works after the hub is gone."""
    first = fetch(f"hub:org/tiny@{revision}")
    hub.asked.clear()

    assert fetch(f"hub:org/tiny@{revision}") == first
    assert hub.asked == []


def test_progress_ends_at_the_bytes_that_came(hub, fetch):
    """Bytes are counted up to the size of all wanted files."""
    seen = []
    folder = fetch(progress=lambda _, done, total: seen.append((done, total)))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    assert seen[-1] == (size, size)


def test_pickles_alone_are_refused_before_anything_comes(hub, fetch):
    """The error names the file and two ways on; no file of the repository is fetched."""
    del hub.files["model.safetensors"]

    with pytest.raises(SourceError, match=r"weights only as a pickle \(pytorch_model.bin\).*Nothing was downloaded.*path:"):
        fetch()
    assert not [path for path in hub.asked if "/resolve/" in path]


def test_a_repository_without_weights_is_refused(hub, fetch):
    """Neither safetensors nor pickle is said as such."""
    del hub.files["model.safetensors"], hub.files["pytorch_model.bin"]

    with pytest.raises(SourceError, match=r"has its weights not as model.safetensors"):
        fetch()


@pytest.mark.parametrize(
    ("source", "refusal", "message"),
    [
        ("hub:org/tony@main", None, r"The hub has no model org/tony, or hides it from you"),
        ("hub:org/tiny@v9", None, r"org/tiny has no revision 'v9'. Name a branch, a tag or a commit"),
        ("hub:org/tiny@main", (403, "GatedRepo"), r"asks for consent first.*HF_TOKEN"),
        ("hub:org/tiny@main", (400, ""), r"could not be fetched.*HF_ENDPOINT, or use path:"),
    ],
)
def test_refusals_of_the_hub_are_told_apart(hub, fetch, source, refusal, message):
    """What the hub answers is said with what to do."""
    hub.refusal = refusal
    with pytest.raises(SourceError, match=message):
        fetch(source)


def test_a_hub_out_of_reach_is_named(fetch, hub, monkeypatch):
    """Nobody listens there: an error at once, no traceback of a network library."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(SourceError, match=r"hub:org/tiny@main could not be fetched"):
        fetch()


def test_a_download_that_breaks_off_is_no_model(hub, fetch, monkeypatch):
    """Weights cut in the middle are an error, and are not taken for whole; the next call completes them."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.cut = {"model.safetensors"}
    with pytest.raises(SourceError, match=r"hub:org/tiny@main could not be fetched"):
        fetch()

    hub.cut = set()
    folder = fetch()
    assert Path(folder / "model.safetensors").read_bytes() == hub.files["model.safetensors"]
