"""Dagster's and MLflow's pages on this machine's loopback address, started together and ended together."""

from __future__ import annotations

import ipaddress
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
from resources.tracking_store import PAGES_URL_ENV, default_uri
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


def warning_of(host: str) -> str:
    """Return what serving on ``host`` puts at risk; empty for this machine's own addresses."""
    try:
        is_own = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_own = host == "localhost"
    if is_own:
        return ""
    return (
        f"Warning: the pages have no login. Whoever reaches {host} can start runs, and so run any code here as you, read your "
        "data and delete results. Put a proxy with a login before them, or keep the loopback address and reach it by "
        "`ssh -L 3000:127.0.0.1:3000 -L 5000:127.0.0.1:5000 THIS_MACHINE`."
    )


def serve_pages(home: Home, dagster_port: int, mlflow_port: int, host: str = HOST) -> None:
    """Serve both pages until one of them ends or the user interrupts.

    Args:
        home: Whose runs are shown.
        dagster_port: Port of Dagster's page.
        mlflow_port: Port of MLflow's page.
        host: Address to serve on; see `warning_of`.

    Raises:
        ServerError: If a port is taken or a server ended by itself.
    """
    with ExitStack() as stack:
        servers = [stack.enter_context(dagster_pages(home, dagster_port, mlflow_port, host))]
        servers.append(stack.enter_context(mlflow_pages(home, mlflow_port, host)))
        while all(server.poll() is None for server in servers):
            time.sleep(0.5)
        raise ServerError(f"A server ended by itself; its last lines stand in {_log(home, 'dagster')} or {_log(home, 'mlflow')}.")


@contextmanager
def dagster_pages(home: Home, port: int, mlflow_port: int, host: str = HOST) -> Iterator[subprocess.Popen[bytes]]:
    """Serve Dagster's pages, its daemon with them, inside the block."""
    folder = prepare_instance(home)
    workspace = folder / "workspace.yaml"
    write_atomically(workspace, WORKSPACE)
    command = [_script("dagster"), "dev", "-w", str(workspace), "-h", host, "-p", str(port)]
    with _server("dagster", command, (host, port), home, {PAGES_URL_ENV: f"http://{host}:{mlflow_port}"}) as server:
        yield server


@contextmanager
def mlflow_pages(home: Home, port: int, host: str = HOST) -> Iterator[subprocess.Popen[bytes]]:
    """Serve the default store's runs inside the block."""
    home.mlflow.mkdir(parents=True, exist_ok=True)
    command = [_script("mlflow"), "server", "--backend-store-uri", default_uri(home), "--workers", "1"]
    command += ["--artifacts-destination", str(home.mlflow / "artifacts"), "--host", host, "--port", str(port)]
    if warning_of(host):
        # By itself it answers only those who call it by a loopback name.
        command += ["--allowed-hosts", ",".join(f"{name}:{port}" for name in _names_of_this_machine(host))]
    # Eight processes for jobs that nothing here starts would take over a gigabyte.
    with _server("mlflow", command, (host, port), home, {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}) as server:
        yield server


@contextmanager
def _server(
    name: str, command: Sequence[str], address: tuple[str, int], home: Home, variables: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    _refuse_taken(*address, name)
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


def _names_of_this_machine(host: str) -> list[str]:
    """Return the names and addresses by which browsers may call this machine."""
    import psutil

    known = [one.address for some in psutil.net_if_addrs().values() for one in some if one.family == socket.AF_INET]
    return list(dict.fromkeys([host, "localhost", socket.gethostname(), socket.getfqdn(), *known]))


def _refuse_taken(host: str, port: int, name: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServerError(
                f"{host}:{port} cannot be served on ({error.strerror or error}), so the {name} page has no place. "
                f"Use --{name}-port, or an address of this machine with --host."
            ) from error


def _log(home: Home, name: str) -> Path:
    return home.root / "logs" / f"{name}.log"


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
