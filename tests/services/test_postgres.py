"""PostgreSQL keeps Dagster's runs and MLflow's, named by two variables and no edited file."""

import os
import subprocess
import sys

import pytest

from pipelines.postgres import POSTGRES_ENV
from tunewise.toy_study import write_toy_study

pytestmark = pytest.mark.services


def test_a_study_runs_with_dagster_and_mlflow_on_postgresql(postgres, home, tmp_path):
    """Runs and tracked results lie in the databases, a second run reuses all, and no file holds the password."""
    postgres.make("dagster", "mlflow")
    path = write_toy_study(tmp_path / "toy", tracking={"uri_env": "MY_RUNS"})
    first = _tunewise(home, postgres, "run", str(path))
    again = _tunewise(home, postgres, "run", str(path))

    assert first.returncode == 0, first.stdout
    assert again.returncode == 0, again.stdout
    runs = postgres.ask("dagster", "SELECT status FROM runs")
    assert set(runs) == {("SUCCESS",)}
    assert len(runs) == 2
    materialised = "SELECT count(*) FROM asset_keys WHERE last_materialization IS NOT NULL"
    assert postgres.ask("dagster", materialised) == [(5,)]
    tracked = "SELECT value, count(*) FROM tags WHERE key = 'role' GROUP BY value ORDER BY value"
    assert postgres.ask("mlflow", tracked) == [("outcome", 2), ("study", 1)]
    assert not (home.mlflow / "mlflow.db").exists()
    assert [file for file in home.root.rglob("*") if file.is_file() and postgres.password.encode() in file.read_bytes()] == []
    assert postgres.password not in first.stdout + again.stdout


def test_a_variable_that_leads_nowhere_is_named_without_its_password(home, tmp_path):
    """An unreachable database ends the command in words, before a fit, and not in a stack."""
    path = write_toy_study(tmp_path / "toy")
    done = _run(home, {POSTGRES_ENV: "postgresql://tunewise:sesame@127.0.0.1:9/dagster"}, "run", str(path))

    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    assert POSTGRES_ENV in done.stdout
    assert "sesame" not in done.stdout


def _tunewise(home, postgres, *arguments):
    return _run(home, {POSTGRES_ENV: postgres.url("dagster"), "MY_RUNS": postgres.url("mlflow")}, *arguments)


def _run(home, variables, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "pipelines.launch", *arguments],
        env=os.environ | {"TUNEWISE_HOME": str(home.root), "TUNEWISE_LAUNCHED": "1", "OMP_NUM_THREADS": "1"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=180,
    )
