"""Where a number comes from."""

import json
import subprocess

import pytest

from tunewise import provenance
from tunewise.contracts import Device
from tunewise.methods import catalogue
from tunewise.request import Effort, Request
from tunewise.testing import toy_split


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with one commit, which this code is said to run from."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    (tmp_path / "code.py").write_text("a = 1\n")
    for command in (["init", "--quiet"], ["add", "code.py"], ["commit", "--quiet", "--message", "first"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(provenance, "CHECKOUT", tmp_path)
    provenance.commit.cache_clear()
    yield tmp_path
    provenance.commit.cache_clear()


def test_a_clean_checkout_has_its_commit(checkout):
    """Forty digits, and nothing changed."""
    found = provenance.commit()

    assert len(found["commit"]) == 40
    assert found["is_dirty"] is False


def test_a_changed_checkout_is_marked(checkout):
    """An edited file makes the row one from an uncommitted tree."""
    (checkout / "code.py").write_text("a = 2\n")

    assert provenance.commit()["is_dirty"] is True


def test_an_installed_package_has_no_commit(checkout, monkeypatch):
    """Outside a checkout there is none, which is not the same as clean."""
    monkeypatch.setattr(provenance, "CHECKOUT", checkout / "elsewhere")

    assert provenance.commit() == {"commit": None, "is_dirty": None}


def test_it_is_plain_json(checkout):
    """Everything can be written, and the origins of data and result are in it."""
    method = catalogue()["majority"]
    request = Request(method, method.settings(), 0, toy_split(), None, Device("cpu", "float32", 1), Effort("quick", None, 1))
    found = json.loads(json.dumps(provenance.provenance(request)))

    assert found["data"].items() >= {"split_sha256": toy_split().fingerprint, "licence": "CC0-1.0"}.items()
    assert found["data"]["n_rows"] == {"train": 144, "development": 48, "test": 48}
    assert found["data"]["mean_characters"] > 10
    assert set(found["code"]) >= {"tunewise.methods.baselines.majority", "tunewise.effort"}
    assert found["determinants"]["method"] == "majority"
    assert found["backbone"] is None
    assert found["versions"]["numpy"]
