"""The command line says one clear thing, ends with the right code, and shows no stack unless asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import cli
from pipelines.launch import ALLOCATOR, environment
from tunewise.toy_study import write_toy_study


def test_methods_lists_the_catalogue(tunewise):
    """Every method stands in the table."""
    code, said = tunewise("methods")

    assert code == 0
    assert all(name in said for name in ("majority", "logistic_regression", "lora"))


def test_methods_shows_the_settings_of_one(tunewise):
    """Each setting with its default and meaning."""
    code, said = tunewise("methods", "lora")

    assert code == 0
    assert "r, the rank of the update." in said


def test_an_unknown_method_is_answered_with_all_there_are(tunewise):
    """One line, no stack, exit code 1."""
    code, said = tunewise("methods", "lorra")

    assert code == 1
    assert "Error: There is no method 'lorra'. There are majority" in said
    assert "Traceback" not in said


def test_a_stack_is_shown_where_it_is_asked_for(tunewise):
    """With --debug the error itself comes through."""
    with pytest.raises(cli.StudyError):
        tunewise("run", "no_such_study", "--debug")


def test_a_wrong_call_ends_with_two(tunewise):
    """What shells expect of a usage error."""
    assert tunewise("run")[0] == 2
    assert tunewise("run", "movie_reviews", "--seeds", "0,x")[0] == 2
    assert tunewise("run", "movie_reviews", "--no-such-option")[0] == 2


def test_check_says_everything_that_is_wrong(tunewise, tmp_path):
    """All problems of all files, and exit code 1."""
    path = write_toy_study(tmp_path / "toy", budget="huge", metric="f1")
    code, said = tunewise("check", path)

    assert code == 1
    assert f"{path}:" in said
    assert "'huge' is not allowed" in said
    assert "'f1' is not allowed" in said


def test_check_without_names_looks_at_every_study(tunewise, studies):
    """What is no study in a studies folder is found, too."""
    assert tunewise("check") == (0, "1 study is right.\n")
    (studies / "extra.py").write_text("")

    code, said = tunewise("check")
    assert code == 1
    assert "is a program" in said


def test_a_study_is_run_reported_and_shown(tunewise, ready_home, studies):
    """From the table to the printed comparison; the path of the page is the last line."""
    write_toy_study(studies / "toy")
    code, said = tunewise("run", "toy", "--seeds", "0,1", "--budget", "quick")
    page = ready_home.study("toy") / "comparison" / "index.html"

    assert code == 0
    assert "tfidf_logistic" in said
    assert said.rstrip().endswith(f"Page: {page}")
    assert page.exists()

    code, said = tunewise("show", "toy/tfidf_logistic")
    assert code == 0
    assert str(ready_home.artifacts / "outcomes") in said


def test_a_report_fits_nothing(tunewise, ready_home, studies):
    """A study that never ran is reported as such, by name."""
    write_toy_study(studies / "toy")
    code, said = tunewise("report", "toy")

    assert code == 0
    assert "majority: never ran" in said


def test_a_failed_variant_ends_the_command_with_one(tunewise, ready_home, studies):
    """The comparison is printed all the same, and the failure with its own words."""
    hopeless = {"method": "lora", "name": "hopeless", "settings": {"targets": ["no_such_layer"]}}
    write_toy_study(studies / "toy", ["majority", hopeless])
    code, said = tunewise("run", "toy")

    assert code == 1
    assert "hopeless failed:" in said
    assert "no_such_layer" in said
    assert "Page: " in said
    assert "Traceback" not in said


def test_a_variant_that_several_studies_have_needs_its_study(tunewise, studies):
    """The error names the owners and how to say which."""
    write_toy_study(studies / "toy")
    code, said = tunewise("show", "majority")

    assert code == 1
    assert "Several studies have a variant 'majority': movie_reviews, toy. Write STUDY/majority." in said


@pytest.mark.parametrize(
    ("selection", "words"), [('key:"toy/majorty"', "Did you mean 'key:\"toy/majority\"'?"), ("a[", "selects nothing")]
)
def test_a_selection_of_nothing_starts_nothing(selection, words, tunewise, studies, monkeypatch):
    """An empty selection would make dg run every asset of every study."""
    write_toy_study(studies / "toy")
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("started"))
    code, said = tunewise("launch", selection)

    assert code == 1
    assert words in " ".join(said.split())


def test_a_launch_is_dg_s_on_the_instance_of_the_home(tunewise, studies, home, monkeypatch):
    """The same environment's dg is given the selection, the project and what else was said."""
    write_toy_study(studies / "toy")
    called = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: called.append((program, arguments)))
    monkeypatch.setenv("DAGSTER_HOME", "")
    tunewise("launch", 'key:"toy/majority"', "--config-json", "{}")
    dg, root = str(Path(sys.executable).with_name("dg")), str(Path(cli.__file__).parents[1])

    assert called == [
        (dg, [dg, "launch", "--assets", 'key:"toy/majority"', "--target-path", root, "--config-json", "{}"]),
    ]
    assert os.environ["DAGSTER_HOME"] == str(home.dagster)
    assert (home.dagster / "dagster.yaml").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("toy/dataset", 0), ("wrong/study", 1)])
def test_a_launch_from_anywhere_ends_with_dg_s_code(name, code, ready_home, studies, tmp_path):
    """The project is found from another folder; what is done is in the instance that the pages show."""
    write_toy_study(studies / "toy")
    (studies / "wrong.yaml").write_text("name: wrong\n")
    command = [str(Path(sys.executable).with_name("tunewise")), "launch", f'key:"{name}"']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == code, done.stdout + done.stderr
    assert (ready_home.dagster / "dagster.yaml").exists()


def test_a_seed_that_is_none_is_refused_in_words(tunewise, studies):
    """What the study file would refuse, the option does, too."""
    write_toy_study(studies / "toy")
    code, said = tunewise("run", "toy", "--seeds", "-1")

    assert code == 1
    assert "seeds=(-1,) cannot be. seeds[0]: " in said


def test_the_launcher_keeps_what_the_user_set(monkeypatch):
    """Allocator and thread variables are added where they are missing, and only there."""
    for name in [*ALLOCATOR, "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TOKENIZERS_PARALLELISM"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    added = environment(cores=3)

    assert "OMP_NUM_THREADS" not in added
    assert added["MKL_NUM_THREADS"] == "3"
    assert added.items() >= ALLOCATOR.items()
    assert os.environ["OMP_NUM_THREADS"] == "7"
