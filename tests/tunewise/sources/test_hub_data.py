"""A data set of a hub is asked for its commit and its files' hashes; a study reads the commit that was noted."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tunewise.errors import UnreachableError
from tunewise.sources.forms import HubSource
from tunewise.sources.hub_data import at_noted_commit, data_revision, note_commit
from tunewise.steps import Workplace, key_of_dataset
from tunewise.study import Study
from tunewise.watching import look

SOURCE = HubSource("org/texts", "main")


class Hub(BaseHTTPRequestHandler):
    """Tells of the data set org/texts."""

    def log_message(self, *args):
        """Say nothing."""

    def do_GET(self):
        """Answer with the commit and files that the test set."""
        known = self.path.startswith("/api/datasets/org/texts/revision/main")
        files = [{"rfilename": name, "size": 1, "blobId": blob} for name, blob in self.server.files.items()]
        body = json.dumps({"id": "org/texts", "sha": self.server.commit, "siblings": files} if known else {}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub(monkeypatch):
    """A hub on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.commit, server.files = "c1", {"train.parquet": "b1", "README.md": "b2"}
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def place(home, tmp_path):
    """A study on the data set."""
    study = Study.model_validate({"name": "toy", "data": {"source": "hub:org/texts@main"}, "variants": ["majority"]})
    return Workplace(study, tmp_path, home)


def test_a_revision_is_its_commit_and_its_data_files(hub):
    """An edited card is another commit of the same data."""
    first = data_revision(SOURCE)
    hub.commit, hub.files["README.md"] = "c2", "b3"
    second = data_revision(SOURCE)

    assert (first.commit, second.commit) == ("c1", "c2")
    assert first.files == second.files == (("train.parquet", "b1"),)


def test_a_hub_that_tells_nothing_may_do_so_later(hub):
    """The error names data set and revision, and is one that may pass."""
    with pytest.raises(UnreachableError, match=r"data set org/none@main and did not tell of it.*stay in use"):
        data_revision(HubSource("org/none", "main"))


def test_a_commit_is_noted_for_one_study(tmp_path):
    """Another study's branch stands still."""
    note_commit(SOURCE, "c1", tmp_path / "one")

    assert at_noted_commit(SOURCE, tmp_path / "one") == HubSource("org/texts", "c1")
    assert at_noted_commit(SOURCE, tmp_path / "two") == SOURCE


def test_other_files_on_the_hub_are_a_change_and_an_edited_card_is_none(hub, place):
    """The run that a change starts reads the new commit: its rows have another key."""
    first = look(place, None)
    key = key_of_dataset(place)
    hub.commit, hub.files["README.md"] = "c2", "b3"
    card = look(place, first.seen)
    hub.commit, hub.files["train.parquet"] = "c3", "b4"
    rows = look(place, card.seen)

    assert [one.is_changed for one in (first, card, rows)] == [False, False, True]
    assert key_of_dataset(place) != key
    assert at_noted_commit(SOURCE, place.home.study("toy")).revision == "c3"
