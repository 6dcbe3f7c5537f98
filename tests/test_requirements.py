"""What may be installed lies above the releases with known holes, and what is pinned lies within what may be."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [
    Requirement(line)
    for line in [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
]
HOLES = {
    "mlflow": ("3.16.0", "code run by whoever reaches the server, without a login"),
    "dagster": ("1.13.25", "SQL through the names of partitions"),
    "dagster-webserver": ("1.13.25", "SQL through the names of partitions"),
    "torch": ("2.9.1", "code in files that were read as weights alone"),
    "jinja2": ("3.1.5", "a way out of the sandbox"),
}


@pytest.mark.parametrize("name", HOLES)
def test_no_release_with_a_known_hole_may_be_installed(name):
    """The lower bound excludes the last release that has the hole."""
    release, hole = HOLES[name]
    found = [one for one in REQUIREMENTS if canonicalize_name(one.name) == name]

    assert found
    assert not any(one.specifier.contains(release) for one in found), f"{name} {release} has a known hole: {hole}"


def test_what_is_pinned_may_be_installed():
    """Every pin of constraints.txt lies within the project's own bounds."""
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    wrong = [
        f"{one.name}{one.specifier} and =={pinned[name]}"
        for one in REQUIREMENTS
        if (name := canonicalize_name(one.name)) in pinned and not one.specifier.contains(pinned[name], prereleases=True)
    ]

    assert wrong == []


def test_nothing_reads_pickles_or_runs_a_models_code():
    """No module imports pickle, joblib or dill, and nobody trusts the code that comes with a model."""
    pickles = r"^\s*(?:import|from) (?:pickle|joblib|dill|cloudpickle)\b"
    said = re.compile(rf"{pickles}|trust_remote_code\s*=\s*True|weights_only\s*=\s*False", re.MULTILINE)
    files = [file for package in ("tunewise", "resources", "assets", "pipelines") for file in (ROOT / package).rglob("*.py")]

    assert len(files) > 100
    assert [str(file) for file in files if said.search(file.read_text())] == []
