"""What an asset leaves on Dagster's pages: figures to plot, a line per seed, checks; and it leaves no pickle."""

import dagster as dg
import pytest

from assets.graph import study_assets
from resources.artifact_store import ArtifactStore, References
from resources.model_store import ModelStore
from resources.tracker import NoTracker
from tunewise.contracts import no_progress
from tunewise.study_file import read_study
from tunewise.toy_study import write_toy_study

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def materialise(tmp_path, home):
    """Return a function that materialises all assets of a toy study, and records nothing elsewhere."""

    def run(config=None, **fields):
        path = write_toy_study(tmp_path / "toy", **fields)
        root = str(home.root)
        resources = {
            "store": ArtifactStore(root=root),
            "models": ModelStore(root=root),
            "io_manager": References(root=root),
            "tracker": NoTracker(),
            "progress": no_progress,
        }
        assets = study_assets(read_study(path), path.parent)
        return dg.materialize(assets, resources=resources, run_config=QUIET | (config or {}), raise_on_error=False)

    return run


def metadata_of(result, name):
    """Return what the asset called ``name`` shows."""
    (event,) = (event for event in result.get_asset_materialization_events() if event.asset_key.path[1] == name)
    return event.step_materialization_data.materialization.metadata


def test_each_asset_shows_figures_and_tables(materialise):
    """Floats are plotted over time, rows are listed, the data's classes are drawn."""
    result = materialise(seeds=[0, 1])
    dataset, variant, comparison = (metadata_of(result, name) for name in ("dataset", "tfidf_logistic", "comparison"))

    assert result.success
    assert dataset["dagster/row_count"].value == 240
    assert dataset["class_shares"].value.startswith("![share of each class](data:image/svg+xml;base64,")
    assert 0.5 < variant["test_accuracy"].value <= 1.0
    assert [record.data["seed"] for record in variant["seeds"].records] == [0, 1]
    assert variant["n_reused"].value == 1
    assert "mlflow" not in variant
    assert comparison["use"].value.startswith("Use ")
    assert comparison["n_missing"].value == 0


def test_the_audit_is_a_check_for_each_of_its_findings(materialise):
    """Duplicated rows fail their check as a warning and block nothing; what blocks is marked so."""
    result = materialise()
    found = {check.check_name: check for check in result.get_asset_check_evaluations()}

    assert found["classes_in_training"].passed
    assert found["classes_in_training"].blocking
    assert not found["exact_duplicates"].blocking
    assert {check.severity for check in found.values() if not check.blocking} == {dg.AssetCheckSeverity.WARN}


def test_what_is_typed_in_the_launchpad_is_fitted(materialise):
    """The changed setting is in the outcome, and the comparison says that the study asks for another."""
    result = materialise({"ops": {"toy__tfidf_logistic": {"config": {"max_terms": 20}}}})
    shown = metadata_of(result, "comparison")

    assert [record.data["reason"] for record in shown["missing"].records] == ["stale"]


def test_nothing_below_the_home_is_a_pickle(materialise, home):
    """Every stored file is of a kind that runs no code when it is read."""
    materialise()
    suffixes = {path.suffix for path in home.root.rglob("*") if path.is_file()}

    assert suffixes <= {".json", ".parquet", ".html", ".md", ".lock", ".skops", ".safetensors", ".ubj", ".txt"}
