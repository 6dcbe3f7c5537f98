"""The code location: light to load, whole although a study is broken, with a schedule where one is asked for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.graph import study_assets
from pipelines.definitions import defs
from pipelines.executors import executor
from pipelines.schedules import study_definitions
from pipelines.sensors import _study_of
from tunewise.errors import StudyError
from tunewise.study_file import read_study
from tunewise.toy_study import write_toy_study

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "sklearn", "xgboost", "pandas", "pyarrow", "mlflow", "datasets", "scipy")


def test_loading_imports_no_heavy_library_and_takes_little_time(studies):
    """Validating, listing and serving stay quick: under 2.5 processor seconds, and neither torch nor its kind."""
    code = (
        "import time, sys, json; from pipelines.definitions import defs; defs().resolve_asset_graph();"
        f"print(json.dumps([time.process_time(), [name for name in {HEAVY} if name in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, heavy = json.loads(done.stdout)

    assert heavy == []
    assert seconds < 2.5


@pytest.mark.parametrize(
    "command",
    [["dg", "check", "defs"], ["dg", "list", "defs"], ["dagster", "definitions", "validate", "-w", "workspace.yaml"]],
    ids="-".join,
)
def test_dagsters_own_checks_pass(command, home, studies):
    """The tools that people use on a code location find nothing wrong with this one."""
    script = str(Path(sys.executable).with_name(command[0]))
    home.dagster.mkdir(parents=True)
    environment = os.environ | {"DAGSTER_HOME": str(home.dagster)}
    done = subprocess.run([script, *command[1:]], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_broken_study_is_an_asset_that_fails_with_its_error(studies):
    """The graph shows the broken file and its message, and the study beside it is whole."""
    write_toy_study(studies / "mine", name="mine")
    (studies / "wrong.yaml").write_text("name: wrong\ndata: {source: none.csv}\nbudget: huge\n")
    whole = defs()
    broken = whole.resolve_assets_def(dg.AssetKey(["wrong", "study"]))
    result = dg.materialize([broken], raise_on_error=False)
    (failure,) = result.filter_events(lambda event: event.is_step_failure)

    jobs = {job.name for job in whole.get_repository_def().get_all_jobs()}

    assert {"mine", "mine__comparison__alone"} <= jobs
    assert dg.AssetKey(["mine", "comparison"]) in whole.resolve_asset_graph().get_all_asset_keys()
    assert "budget: 'huge' is not allowed" in failure.step_failure_data.user_failure_data.description


def test_a_study_that_dagster_refuses_breaks_alone(studies, monkeypatch):
    """Whatever goes wrong while a study's graph is built, the other studies are whole."""
    write_toy_study(studies / "mine", name="mine")
    write_toy_study(studies / "wrong", name="wrong")

    def build(study, base):
        if study.name == "wrong":
            raise dg.DagsterInvalidDefinitionError("no such thing")
        return study_definitions(study, base)

    monkeypatch.setattr("pipelines.definitions.study_definitions", build)
    keys = defs().resolve_asset_graph().get_all_asset_keys()

    assert dg.AssetKey(["wrong", "study"]) in keys
    assert dg.AssetKey(["mine", "comparison"]) in keys


def test_a_study_has_a_job_and_with_a_cron_a_running_schedule(tmp_path):
    """The job runs everything the study has."""
    path = write_toy_study(tmp_path, cron="0 3 1 * *")
    made = study_definitions(read_study(path), tmp_path)
    (schedule,) = made.schedules

    assert [job.name for job in made.jobs] == [schedule.job.name] == ["toy"]
    assert (schedule.name, schedule.cron_schedule) == ("toy_schedule", "0 3 1 * *")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_a_studys_graph(tmp_path):
    """Two backbones and two variants of one method: every asset, what it stands on, its group."""
    two = [{"name": "one", "source": "path:tiny"}, {"name": "two", "source": "path:tiny"}]
    variants = ["majority", "knn", "lora", {"method": "lora", "settings": {"rank": 2}, "backbone": "one"}]
    path = write_toy_study(tmp_path, variants, backbones=two)
    assets = {asset.key.path[1]: asset for asset in study_assets(read_study(path), tmp_path)}
    below = {name: sorted(key.path[1] for key in asset.dependency_keys) for name, asset in assets.items()}

    assert below == {
        "dataset": [],
        "split": ["dataset"],
        "embeddings": ["split"],
        "embeddings_two": ["split"],
        "majority": ["split"],
        "knn": ["embeddings", "split"],
        "knn_two": ["embeddings_two", "split"],
        "lora": ["split"],
        "lora_two": ["split"],
        "lora_rank_2": ["split"],
        "comparison": ["knn", "knn_two", "lora", "lora_rank_2", "lora_two", "majority", "split"],
    }
    assert {next(iter(assets[name].specs)).group_name for name in ("knn", "knn_two")} == {"frozen"}
    assert next(iter(assets["lora_two"].specs)).tags.items() >= {"method": "lora", "family": "peft"}.items()
    assert all(spec.owners and spec.description and spec.kinds for asset in assets.values() for spec in asset.specs)


def test_the_failed_step_tells_whose_comparison_is_due():
    """A study's name may begin like another's; the comparison's own failure asks for nothing."""
    assert _study_of("movie_reviews__lora", ["movie", "movie_reviews"]) == "movie_reviews"
    assert _study_of("movie__lora", ["movie", "movie_reviews"]) == "movie"
    assert _study_of("movie__comparison", ["movie"]) is None
    assert _study_of("other__lora", ["movie"]) is None


def test_an_unknown_executor_is_answered_with_the_choices():
    """The error names what was given and what there is."""
    with pytest.raises(StudyError, match=r"TUNEWISE_EXECUTOR='slurm' is unknown.*processes, in_process, ray, k8s"):
        executor({"TUNEWISE_EXECUTOR": "slurm"})


def test_ray_needs_an_address():
    """The error says which variable to set."""
    pytest.importorskip("dagster_ray")
    with pytest.raises(StudyError, match="RAY_JOBS_ADDRESS is not set"):
        executor({"TUNEWISE_EXECUTOR": "ray"})
