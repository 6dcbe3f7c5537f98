"""What every test stands on: one thread, a home of its own, and our own warnings as errors."""

import os
import sys
import warnings
from pathlib import Path

import pytest

from tunewise.home import Home
from tunewise.privacy import silence_reports

USERS_HOME = Home.default()
"""Where archives of the package index are kept between runs."""

silence_reports()
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser):
    """Add the options that some tests take."""
    parser.addoption("--rebuild-golden", action="store_true", help="write the golden files anew instead of comparing with them")
    parser.addoption(
        "--data",
        type=Path,
        default=None,
        help="folder that holds trec/train.csv (text,label,fine_label), run as a user's own table",
    )


@pytest.fixture(autouse=True)
def _own_warnings_are_errors():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"(tunewise|assets|resources|pipelines)\b")
        yield


@pytest.fixture(autouse=True)
def _devices_stay_visible():
    """A lease that a test took names its devices to this process; the next test sees what there was before."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    yield
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if before is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = before


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of the test's own."""
    monkeypatch.setenv("TUNEWISE_HOME", str(tmp_path / "home"))
    return Home.default()


@pytest.fixture
def tunewise_apart(monkeypatch, capsys):
    """Return a function that calls the command line and returns its exit code, what it printed and what it said beside."""
    from pipelines import cli

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["tunewise", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        code = cli._exit_code()
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def tunewise(tunewise_apart):
    """Return a function that calls the command line and returns its exit code and all that it said."""

    def call(*arguments):
        code, printed, beside = tunewise_apart(*arguments)
        return code, printed + beside

    return call


@pytest.fixture
def real_home():
    """The user's home, whose cache of package archives is filled once; for tests marked ``real``."""
    return USERS_HOME
