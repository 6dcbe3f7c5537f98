"""One variable moves Dagster's runs into PostgreSQL; what cannot be meant is named before anything starts."""

import os

import pytest
import yaml

from pipelines import postgres
from pipelines.instance import SETTINGS
from pipelines.postgres import POSTGRES_ENV, InstanceError, use_postgres
from resources.tracking_store import with_driver

URL = "postgresql://me:sesame@db.example/dagster"


@pytest.fixture
def settings(tmp_path):
    """The home's own ``dagster.yaml``."""
    path = tmp_path / "dagster.yaml"
    path.write_text(SETTINGS)
    return path


def test_without_the_variable_nothing_changes(settings, monkeypatch):
    """Files it is, as before."""
    monkeypatch.delenv(POSTGRES_ENV, raising=False)

    assert not use_postgres(settings)
    assert settings.read_text() == SETTINGS


def test_the_variable_is_named_in_the_file_once_and_the_address_never(settings, monkeypatch):
    """The second start changes nothing; what the file said before still stands in it."""
    monkeypatch.setenv(POSTGRES_ENV, URL)
    monkeypatch.setattr(postgres, "_refuse_unusable", lambda _: None)

    assert use_postgres(settings)
    said = yaml.safe_load(settings.read_text())
    assert not use_postgres(settings)
    assert said == yaml.safe_load(SETTINGS) | {"storage": {"postgres": {"postgres_url": {"env": POSTGRES_ENV}}}}
    assert "sesame" not in settings.read_text()
    assert os.environ[POSTGRES_ENV] == URL.replace("postgresql:", "postgresql+psycopg2:")


def test_a_variable_that_the_file_names_has_to_be_set(settings, monkeypatch):
    """Going on with files would hide every earlier run, so it is an error that says how to go back."""
    settings.write_text(SETTINGS + postgres.STORAGE)
    monkeypatch.delenv(POSTGRES_ENV, raising=False)

    with pytest.raises(InstanceError, match=r"that variable is not set\. Set it, or take the lines below `storage:` out"):
        use_postgres(settings)


def test_a_storage_that_the_user_chose_is_not_overruled(settings, monkeypatch):
    """Two places for runs contradict each other."""
    monkeypatch.setenv(POSTGRES_ENV, URL)
    monkeypatch.setattr(postgres, "_refuse_unusable", lambda _: None)
    settings.write_text(SETTINGS + "storage:\n  sqlite: {base_dir: /data}\n")

    with pytest.raises(InstanceError, match=r"has a storage of its own.*Remove one of the two"):
        use_postgres(settings)


def test_a_package_that_is_missing_is_named(settings, monkeypatch):
    """The error is the command that helps, and the file stays as it was."""
    monkeypatch.setenv(POSTGRES_ENV, URL)
    monkeypatch.setattr(postgres, "find_spec", lambda _: None)

    with pytest.raises(InstanceError, match=r"pip install 'tunewise\[postgres\]'"):
        use_postgres(settings)
    assert settings.read_text() == SETTINGS


@pytest.mark.parametrize(
    ("uri", "given"),
    [
        ("postgresql://host/db", "postgresql+psycopg2://host/db"),
        ("postgres://host/db", "postgresql+psycopg2://host/db"),
        ("postgresql+asyncpg://host/db", "postgresql+asyncpg://host/db"),
        ("sqlite:///x.db", "sqlite:///x.db"),
        ("http://host/postgresql://", "http://host/postgresql://"),
    ],
)
def test_a_database_is_spoken_to_by_the_driver_both_work_with(uri, given):
    """Where a driver is named it stays."""
    assert with_driver(uri) == given
