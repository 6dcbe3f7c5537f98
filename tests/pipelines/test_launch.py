"""Every way of starting has the allocator's and the threads' variables, which count only before a process starts."""

import os
from pathlib import Path

import pytest

from pipelines.launch import ALLOCATOR, equip_children

ROOT = Path(__file__).parents[2]
WAYS = ("start_rightly(", "start_with_allocator(")
SCRIPTS = sorted(
    path for path in (ROOT / "benchmarks").rglob("*.py") if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_benchmarks_start_as_the_command_line_does(path):
    """Each starts itself again with the variables, or only starts the command line, which does."""
    text = path.read_text(encoding="utf-8")

    assert any(way in text for way in WAYS) or "torch" not in text


def test_what_was_set_stays(monkeypatch):
    """Children get what is missing; what the user set is the user's."""
    for name in ALLOCATOR:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("MKL_NUM_THREADS", "")
    equip_children()

    assert ALLOCATOR.items() <= os.environ.items()
    assert os.environ["OMP_NUM_THREADS"] == "7"
