"""A tracking server that is away, slow or full costs a run no fit, and afterwards holds every result exactly once."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from tunewise.toy_study import write_toy_study

VARIANTS = ["majority", "tfidf_logistic"]
ENVIRONMENT = {"TUNEWISE_LAUNCHED": "1", "OMP_NUM_THREADS": "1", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
REGULARISED = [{"method": "tfidf_logistic", "name": f"tfidf_{i}", "settings": {"max_iterations": 100 + i}} for i in range(6)]


@contextmanager
def command(home, *arguments):
    """Yield a running ``tunewise`` command, ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.launch", *arguments],
        env=os.environ | ENVIRONMENT | {"TUNEWISE_HOME": str(home.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _kill(process)


def ended(home, *arguments, seconds=120):
    """Return the exit code and the words of a ``tunewise`` command."""
    with command(home, *arguments) as process:
        said, _ = process.communicate(timeout=seconds)
        return process.returncode, said


@contextmanager
def answering(status=None):
    """Yield the port of a server that answers everything with ``status``, or never."""
    halt = threading.Event()

    class Answers(BaseHTTPRequestHandler):
        def handle_one_request(self):
            if status is None:
                halt.wait(60)
                self.close_connection = True
            else:
                super().handle_one_request()

        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - the library's name

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        halt.set()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        pytest.param(507, "error code 507", id="full"),
        pytest.param(500, "too many 500 error responses", id="broken", marks=pytest.mark.slow),
        pytest.param(503, "too many 503", id="restarting", marks=pytest.mark.slow),
        pytest.param(None, "timed out", id="silent", marks=pytest.mark.slow),
    ],
)
def test_a_run_ends_well_whatever_the_server_says(home, tmp_path, status, reason):
    """Every fit counts, the exit code is 0, and how many results wait, why and what sends them is said."""
    with answering(status) as port:
        path = write_toy_study(tmp_path / "toy", VARIANTS, tracking={"uri": f"http://127.0.0.1:{port}"})
        began = time.monotonic()
        code, said = ended(home, "run", str(path))

    assert code == 0, said
    assert "3 results wait to be recorded in MLflow" in " ".join(said.split())
    assert "`tunewise sync toy`" in " ".join(said.split())
    assert reason in said
    assert {file.parent.name for file in (home.study("toy") / "latest").rglob("0.json")} == set(VARIANTS)
    # MLflow by itself would have asked for minutes at each of three places.
    assert time.monotonic() - began < 100


@pytest.mark.slow
def test_a_server_that_is_killed_in_mid_run_holds_every_result_once_afterwards(home, tmp_path):
    """The run goes on while it is gone; back again it gets the rest from the run itself or from `tunewise sync`, once each."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    path = write_toy_study(tmp_path / "toy", [*VARIANTS, *REGULARISED], seeds=[0, 1], tracking={"uri": url})
    with _server(tmp_path, port) as first, command(home, "run", str(path)) as run:
        _wait(lambda: _children(url), run)
        _kill(first)
        _wait(lambda: len(list((home.study("toy") / "unsent").glob("*.json"))) >= 2, run)
        with _server(tmp_path, port):
            said, _ = run.communicate(timeout=180)
            assert run.returncode == 0, said
            code, synced = ended(home, "sync", "toy")
            again, _ = ended(home, "sync")
            found = _children(url)
            parents = _search(url, "tags.role = 'study'")

    assert (code, again) == (0, 0), synced
    planned = len(VARIANTS) + len(REGULARISED)
    assert Counter(_tags(run)["variant"] for run in found) == dict.fromkeys(_names(), 2)
    assert len({(_tags(run)["variant"], _tags(run)["seed"], _tags(run)["outcome_key"]) for run in found}) == 2 * planned
    assert {run["info"]["status"] for run in found} == {"FINISHED"}
    assert len(parents) == 1
    assert not list((home.study("toy") / "unsent").glob("*.json"))


@pytest.mark.slow
def test_a_sender_that_is_killed_at_any_moment_sends_nothing_twice(home, tmp_path):
    """`SIGKILL` after 1, 2, ... 10 requests of a delivery, then one left alone: every result is there once and whole."""
    gone, log = _free_port(), tmp_path / "server.log"
    path = write_toy_study(tmp_path / "toy", [*VARIANTS, *REGULARISED], tracking={"uri": f"http://127.0.0.1:{gone}"})
    code, said = ended(home, "run", str(path))
    assert code == 0, said
    with _server(tmp_path, gone):
        for n_requests in range(1, 11):
            before = log.read_text().count("/api/2.0/")
            with command(home, "sync", "toy") as sender:
                _wait(lambda n=before + n_requests: log.read_text().count("/api/2.0/") >= n, sender)
        assert len(list((home.study("toy") / "unsent").glob("*.json"))) > 1
        code, said = ended(home, "sync", "toy")
        found = _children(f"http://127.0.0.1:{gone}")

    assert code == 0, said
    assert Counter(_tags(run)["variant"] for run in found) == dict.fromkeys(_names(), 1)
    assert {run["info"]["status"] for run in found} == {"FINISHED"}


def _names():
    return [*VARIANTS, *(one["name"] for one in REGULARISED)]


@contextmanager
def _server(folder, port):
    """Yield MLflow's own server on a store below ``folder``, once it answers."""
    command = [str(Path(sys.executable).with_name("mlflow")), "server", "--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--artifacts-destination", str(folder / "kept"), "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(command, env=os.environ | ENVIRONMENT, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(lambda: _is_well(port), server)
        yield server
    finally:
        _kill(server)


def _is_well(port):
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=2).ok
    except requests.RequestException:
        return False


def _wait(get, process, seconds=120):
    until = time.monotonic() + seconds
    while not (found := get()):
        assert process.poll() is None, process.stdout.read() if process.stdout else "it ended"
        assert time.monotonic() < until, "nothing came"
        time.sleep(0.1)
    return found


def _kill(process):
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)


def _children(url):
    return _search(url, "tags.role = 'outcome'")


def _search(url, what):
    asked = requests.get(f"{url}/api/2.0/mlflow/experiments/get-by-name?experiment_name=toy", timeout=10)
    if not asked.ok:
        return []
    body = {"experiment_ids": [asked.json()["experiment"]["experiment_id"]], "filter": what, "max_results": 1000}
    return requests.post(f"{url}/api/2.0/mlflow/runs/search", json=body, timeout=10).json().get("runs", [])


def _tags(run):
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def _free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]
