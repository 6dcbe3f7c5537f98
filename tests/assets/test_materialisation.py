"""What an asset leaves on Dagster's pages: figures to plot, a line per seed, checks; and it leaves no pickle."""

import json

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

    def run(config=None, instance=None, **fields):
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
        given = QUIET | (config or {})
        return dg.materialize(assets, resources=resources, run_config=given, raise_on_error=False, instance=instance)

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


TYPED = {"ops": {"toy__tfidf_logistic": {"config": {"max_terms": 20}}}}


def test_what_is_typed_in_the_launchpad_counts_for_one_run(materialise, home):
    """It is fitted and kept; in the comparison stands what the study declares, before and after."""
    never = metadata_of(materialise(TYPED), "comparison")
    pointer = home.study("toy") / "latest" / "tfidf_logistic" / "0.json"
    kept = [json.loads(path.read_text())["settings"] for path in home.artifacts.glob("outcomes/*/outcome.json")]

    assert [record.data["reason"] for record in never["missing"].records] == ["never ran"]
    assert not pointer.exists()
    assert 20 in [settings.get("max_terms") for settings in kept]

    materialise()
    declared = pointer.read_text()
    again = metadata_of(materialise(TYPED), "comparison")

    assert again["n_missing"].value == 0
    assert pointer.read_text() == declared


def test_settings_that_are_refused_leave_the_declared_outcome(materialise, home):
    """A slip in the launchpad fails its run, and the comparison goes on to show what was fitted before."""
    materialise()
    pointer = home.study("toy") / "latest" / "tfidf_logistic" / "0.json"
    declared = pointer.read_text()
    result = materialise({"ops": {"toy__tfidf_logistic": {"config": {"max_terms": -1}}}})

    assert [event.step_key for event in result.get_step_failure_events()] == ["toy__tfidf_logistic"]
    assert pointer.read_text() == declared


def test_a_backbone_that_cannot_be_had_says_so_where_it_is_missed(materialise, home, tmp_path):
    """Its variant is noted as failed, and the check on lengths says why there was none; the others are fitted."""
    (tmp_path / "toy/gone").mkdir(parents=True)
    result = materialise(variants=["majority", "lora"], backbones=[{"name": "gone", "source": "path:gone"}])
    found = {check.check_name: check for check in result.get_asset_check_evaluations()}
    latest = home.study("toy") / "latest"

    assert found["text_lengths"].passed
    assert found["text_lengths"].description.startswith("Not checked: backbone gone cannot be had. ")
    assert "toy/gone" in json.loads((latest / "lora/0.json").read_text())["failed"]
    assert "key" in json.loads((latest / "majority/0.json").read_text())


def test_the_audit_is_made_once(materialise, home):
    """The comparison takes the one that the split's checks stored, lengths and all."""
    materialise(variants=["majority", "knn"])
    page = (home.study("toy") / "comparison/index.html").read_text()

    assert len(list((home.artifacts / "audit").iterdir())) == 1
    assert "tokens in the middle" in page


def test_an_instance_that_keeps_nothing_is_warned_of(materialise, monkeypatch):
    """Where DAGSTER_HOME is missing, pools limit nothing and the pages do not show the run."""
    for chosen, n_warned in ((None, 2), ("/somewhere", 0)):
        monkeypatch.setenv("DAGSTER_HOME", chosen) if chosen else monkeypatch.delenv("DAGSTER_HOME", raising=False)
        instance = dg.DagsterInstance.ephemeral()
        result = materialise(instance=instance)
        said = [entry.user_message for entry in instance.all_logs(result.run_id)]

        assert sum("its pages will not show it, and pools limit nothing" in line for line in said) == n_warned


def test_nothing_below_the_home_is_a_pickle(materialise, home):
    """Every stored file is of a kind that runs no code when it is read."""
    materialise()
    suffixes = {path.suffix for path in home.root.rglob("*") if path.is_file()}

    assert suffixes <= {".json", ".parquet", ".html", ".md", ".lock", ".skops", ".safetensors", ".ubj", ".txt"}
