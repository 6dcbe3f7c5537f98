"""Dagster's and MLflow's pages on this machine's loopback address, started together and ended together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.instance import prepare_instance
from resources.tracker import PAGES_URL_ENV, default_uri
from tunewise.artifacts import write_atomically
from tunewise.errors import TunewiseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tunewise.home import Home

HOST = "127.0.0.1"
WORKSPACE = """\
load_from:
  - python_module:
      module_name: pipelines.definitions
      location_name: tunewise
"""
SECONDS_TO_END = 10.0


class ServerError(TunewiseError):
    """A page could not be served."""


def serve_pages(home: Home, dagster_port: int, mlflow_port: int) -> None:
    """Serve both pages until one of them ends or the user interrupts.

    Raises:
        ServerError: If a port is taken or a server ended by itself.
    """
    with ExitStack() as stack:
        servers = [stack.enter_context(dagster_pages(home, dagster_port, mlflow_port))]
        servers.append(stack.enter_context(mlflow_pages(home, mlflow_port)))
        while all(server.poll() is None for server in servers):
            time.sleep(0.5)
        raise ServerError(f"A server ended by itself; its last lines stand in {_log(home, 'dagster')} or {_log(home, 'mlflow')}.")


@contextmanager
def dagster_pages(home: Home, port: int, mlflow_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Serve Dagster's pages, its daemon with them, inside the block."""
    folder = prepare_instance(home)
    workspace = folder / "workspace.yaml"
    write_atomically(workspace, WORKSPACE)
    command = [_script("dagster"), "dev", "-w", str(workspace), "-h", HOST, "-p", str(port)]
    with _server("dagster", command, port, home, {PAGES_URL_ENV: f"http://{HOST}:{mlflow_port}"}) as server:
        yield server


@contextmanager
def mlflow_pages(home: Home, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Serve the default store's runs inside the block."""
    home.mlflow.mkdir(parents=True, exist_ok=True)
    command = [_script("mlflow"), "server", "--backend-store-uri", default_uri(home), "--workers", "1"]
    command += ["--artifacts-destination", str(home.mlflow / "artifacts"), "--host", HOST, "--port", str(port)]
    # Eight processes for jobs that nothing here starts would take over a gigabyte.
    with _server("mlflow", command, port, home, {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}) as server:
        yield server


@contextmanager
def _server(
    name: str, command: Sequence[str], port: int, home: Home, variables: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    _refuse_taken(port, name)
    log = _log(home, name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        # A session of its own: the server starts others, and all of them have to be ended together.
        server = subprocess.Popen(
            command,
            env=os.environ | variables,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield server
        finally:
            _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End a server and everything it started: asked first, and after ten seconds forced."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, how)
            server.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            break


def _refuse_taken(port: int, name: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ServerError(f"Port {port} is taken, so the {name} page cannot be served there. Use --{name}-port.") from error


def _log(home: Home, name: str) -> Path:
    return home.root / "logs" / f"{name}.log"


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
