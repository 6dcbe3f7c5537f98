"""PostgreSQL as the machine's package manager installs it, started for the test and ended with it."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@dataclass(frozen=True)
class Postgres:
    """A server of the test's own."""

    port: int
    password: str

    def url(self, database):
        """Return the address of a database, with its login."""
        return f"postgresql://tunewise:{self.password}@127.0.0.1:{self.port}/{database}"

    def make(self, *databases):
        """Make empty databases."""
        for name in databases:
            self.ask("postgres", f'CREATE DATABASE "{name}"')

    def ask(self, database, question):
        """Return the rows that a question is answered with."""
        import psycopg2

        connection = psycopg2.connect(self.url(database))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(question)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


@pytest.fixture(scope="session")
def postgres():
    """A running server with a login; skipped, with what to do, where there are no binaries."""
    if not BINARIES:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    pytest.importorskip("dagster_postgres", reason="the extra `postgres` is not installed: pip install -e '.[postgres]'")
    # Below pytest's own folders the server's user may not look.
    folder = Path(tempfile.mkdtemp(prefix="tunewise-postgres-"))
    as_user = _as_user(folder)
    try:
        password = secrets.token_hex(16)
        port = _initialise(folder, as_user, password)
        command = [*as_user, BINARIES[-1].with_name("postgres"), "-D", folder / "data", "-F"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen([*command, "-h", "127.0.0.1", "-p", str(port), "-k", folder], stdout=log, stderr=log)
        try:
            _wait(server, port, folder / "log")
            yield Postgres(port, password)
        finally:
            server.terminate()
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _initialise(folder, as_user, password):
    """Make the server's files and return a free port."""
    (folder / "password").write_text(password)
    if as_user:
        shutil.chown(folder / "password", "postgres")
    command = [*as_user, BINARIES[-1], "-D", folder / "data", "-U", "tunewise", "-A", "scram-sha-256", "-E", "UTF8"]
    subprocess.run([*command, f"--pwfile={folder / 'password'}"], check=True, capture_output=True, timeout=120, cwd=folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _as_user(folder):
    """Return the words before a command that let another user run it: initdb refuses root."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("postgres")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _wait(server, port, log):
    for _ in range(300):
        assert server.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(log.read_text())
