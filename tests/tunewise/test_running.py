"""A study in a notebook: one call from its file to its verdict, without an orchestrator."""

import subprocess
import sys

import pytest

import tunewise
from tunewise.errors import DataError, StudyError
from tunewise.running import changed, run
from tunewise.study_file import read_study
from tunewise.testing import tiny_encoder
from tunewise.toy_study import write_toy_study

FAILING = {"method": "lora", "name": "hopeless", "settings": {"targets": ["no_such_layer"]}}


def test_importing_the_package_stays_light():
    """`import tunewise` loads no library of models, tables or orchestration; `tunewise.run` is there all the same."""
    heavy = ["torch", "transformers", "sklearn", "xgboost", "pandas", "pyarrow", "dagster", "mlflow"]
    code = f"import sys, tunewise; print([name for name in {heavy} if name in sys.modules], 'run' in tunewise.__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[] True"
    assert tunewise.run is run


def test_a_study_ends_in_a_verdict_and_is_reused(tmp_path, home):
    """The second call fits nothing and says the same."""
    path = write_toy_study(tmp_path / "toy")
    first, again = tunewise.run(path), tunewise.run(str(path))

    assert {one.variant for one in first.standings} == {"majority", "tfidf_logistic"}
    assert first.missing == ()
    assert again.sentence == first.sentence
    assert (home.study("toy") / "comparison" / "index.html").exists()


def test_a_failed_variant_is_named_and_the_others_are_compared(tmp_path):
    """One that cannot be fitted is missing with its error."""
    verdict = run(write_toy_study(tmp_path / "toy", [FAILING, "majority"]))

    assert [one.variant for one in verdict.standings] == ["majority"]
    assert [(one.variant, one.reason) for one in verdict.missing] == [("hopeless", "failed")]
    assert "no_such_layer" in verdict.missing[0].message


def test_a_backbone_that_cannot_be_had_fails_its_own_variants_alone(tmp_path):
    """What needs no backbone is fitted and compared."""
    missing = [{"name": "gone", "source": "path:gone"}]
    (tmp_path / "toy" / "gone").mkdir(parents=True)
    verdict = run(write_toy_study(tmp_path / "toy", ["majority", "knn"], backbones=missing))

    assert [one.variant for one in verdict.standings] == ["majority"]
    assert [(one.variant, one.reason) for one in verdict.missing] == [("knn", "failed")]


def test_a_study_object_runs_with_paths_from_the_current_folder(tmp_path, monkeypatch):
    """A notebook may build the study itself."""
    study = read_study(write_toy_study(tmp_path / "toy", ["majority"]))
    monkeypatch.chdir(tmp_path / "toy")

    assert [one.variant for one in run(study).standings] == ["majority"]


def test_only_named_variants_are_fitted(tmp_path):
    """The others are never run; a name that is none is refused with those there are."""
    path = write_toy_study(tmp_path / "toy")
    verdict = run(path, only=["majority"])

    assert [(one.variant, one.reason) for one in verdict.missing] == [("tfidf_logistic", "never ran")]
    with pytest.raises(StudyError, match=r"Study toy has no variant 'lora'; it has majority, tfidf_logistic"):
        run(path, only=["lora"])


def test_a_row_of_another_backbone_is_held_against_that_backbone(tmp_path, home):
    """Asking for one variant alone leaves no stale row of the others as if it were current."""
    path = write_toy_study(tmp_path / "toy", ["majority", "knn"])
    assert "tokens in the middle" in run(path).findings[-1]["message"]
    assert len(list((home.artifacts / "audit").iterdir())) == 1
    tiny_encoder(tmp_path / "toy" / "tiny", seed=1)
    verdict = run(path, only=["majority"])

    assert [(one.variant, one.reason) for one in verdict.missing] == [("knn", "stale")]
    assert "the backbone changed" in verdict.missing[0].message


def test_a_backbone_that_nothing_was_fitted_with_is_not_fetched(tmp_path, monkeypatch):
    """Fitting the majority class alone needs no download; the comparison knows no row that would."""
    path = write_toy_study(tmp_path / "toy", ["majority", "knn"])
    monkeypatch.setattr("tunewise.backbones.opening.open_backbone", lambda *_, **__: pytest.fail("fetched"))

    assert [one.variant for one in run(path, only=["majority"]).standings] == ["majority"]


def test_data_of_one_class_is_refused(tmp_path):
    """No honest result is possible; the error is the data's."""
    path = write_toy_study(tmp_path / "toy")
    (path.parent / "texts.csv").write_text("text,label\n" + "".join(f"word{i},one\n" for i in range(50)))

    with pytest.raises(DataError, match="class"):
        run(path)


def test_budget_and_seeds_can_be_changed(tmp_path):
    """The study itself stays as it was; wrong values are refused in words."""
    study = read_study(write_toy_study(tmp_path / "toy"))

    assert changed(study, budget="standard", seeds=[4, 5]).seeds == (4, 5)
    assert (study.budget, study.seeds) == ("quick", (0,))
    with pytest.raises(StudyError, match=r"budget='huge' is unknown\. Use quick, standard, thorough"):
        changed(study, budget="huge")
    with pytest.raises(StudyError, match=r"seeds=\[1, 1\] hold one twice"):
        changed(study, seeds=[1, 1])
    with pytest.raises(StudyError, match=r"seeds=\(-1,\) cannot be\. seeds\[0\]: .*"):
        changed(study, seeds=[-1])


def test_what_was_not_said_stays_unsaid(tmp_path):
    """A changed study is the same but for the change: its compute, its variants, its settings and what was left open."""
    path = write_toy_study(tmp_path / "toy", ["majority", {"method": "lora", "settings": {"rank": 2}}])
    study = read_study(path)
    again = changed(study, seeds=[5])

    assert again.planned() == study.planned()
    assert again.compute.model_fields_set == {"cpus"}
    assert again.model_copy(update={"seeds": study.seeds}) == study
