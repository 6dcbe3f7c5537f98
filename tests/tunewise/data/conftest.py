"""Small tables, written and read."""

import gzip
import json
from pathlib import Path

import pytest

from tunewise.data.dataset import Dataset, build_dataset
from tunewise.home import Home
from tunewise.study import Data


@pytest.fixture
def write(tmp_path):
    """Write a file of the given name from text, bytes or objects, and return its path."""

    def _write(name, content, encoding="utf-8"):
        if isinstance(content, list):
            content = "".join(json.dumps(row) + "\n" for row in content)
        data = content if isinstance(content, bytes) else content.encode(encoding)
        path = Path(tmp_path) / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return _write


@pytest.fixture
def build(tmp_path):
    """Build the data set of a study's data section."""

    def _build(**data) -> Dataset:
        return build_dataset(Data(**data), base=tmp_path, home=Home(tmp_path / "home"))

    return _build
