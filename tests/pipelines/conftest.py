"""Studies folders, and a home whose tracking store is made ready once."""

import shutil

import pytest
from mlflow import MlflowClient

from pipelines.study_folders import FOLDERS_ENV


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory):
    """MLflow's tables without a row; making them takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def ready_home(home, fresh_database, monkeypatch):
    """A home of the test's own, with Dagster's instance in it and a tracking store without runs."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    home.mlflow.mkdir(parents=True)
    shutil.copy(fresh_database, home.mlflow / "mlflow.db")
    yield home
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


@pytest.fixture
def studies(tmp_path, monkeypatch):
    """An empty folder that ``TUNEWISE_STUDIES`` names."""
    folder = tmp_path / "studies"
    folder.mkdir()
    monkeypatch.setenv(FOLDERS_ENV, str(folder))
    return folder
