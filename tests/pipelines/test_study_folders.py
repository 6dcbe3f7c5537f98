"""Studies folders are read as data: nothing in them is run, and what is wrong in one file stops no other."""

import os
import sys
from pathlib import Path

import dagster as dg
import pytest

from pipelines.definitions import defs
from pipelines.in_process import run_study
from pipelines.study_folders import SHIPPED, find_studies, locate, study_folders
from tunewise.contracts import no_progress
from tunewise.errors import StudyError
from tunewise.study_file import read_study
from tunewise.toy_study import write_toy_study


def test_the_shipped_folder_and_named_ones_are_searched(studies, monkeypatch):
    """TUNEWISE_STUDIES holds folders divided as PATH's are."""
    monkeypatch.setenv("TUNEWISE_STUDIES", f"{studies}:/elsewhere")

    assert study_folders() == [SHIPPED, studies, Path("/elsewhere")]


def test_a_study_is_a_file_in_the_folder_or_in_one_below_it(studies):
    """Both `mine.yaml` and `mine/defs.yaml` are found; deeper files are not."""
    write_toy_study(studies / "one", name="one")
    write_toy_study(studies, name="two")
    write_toy_study(studies / "three" / "deeper", name="three")
    found, broken = find_studies([studies])

    assert sorted(one.study.name for one in found) == ["one", "two"]
    assert broken == []


def test_a_program_in_the_folder_is_refused_and_not_run(studies):
    """A Python file becomes an error of its own; the study beside it goes on."""
    write_toy_study(studies / "mine", name="mine")
    marker = studies / "was_run"
    (studies / "mine" / "extra.py").write_text(f"open({str(marker)!r}, 'w')")
    found, (broken,) = find_studies([studies])

    assert [one.study.name for one in found] == ["mine"]
    assert "is a program. A studies folder holds YAML alone; it was not imported" in broken.message
    assert not marker.exists()


def test_a_broken_study_takes_no_other_with_it(studies):
    """What is wrong is said with the file's line; the other study is found."""
    write_toy_study(studies / "mine", name="mine")
    (studies / "wrong.yaml").write_text("name: wrong\ndata: {source: none.csv}\nbudget: huge\n")
    found, (broken,) = find_studies([studies])

    assert [one.study.name for one in found] == ["mine"]
    assert broken.name == "wrong"
    assert f"{studies / 'wrong.yaml'}:3: budget: 'huge' is not allowed" in broken.message


def test_of_two_studies_of_one_name_the_second_is_refused(studies):
    """Asset keys would clash; the second is told who has the name, and gets one that is free."""
    write_toy_study(studies / "a", name="mine")
    write_toy_study(studies / "mine", name="mine")
    found, (broken,) = find_studies([studies])

    assert found[0].path == studies / "a" / "defs.yaml"
    assert f"the study name 'mine' is taken by {found[0].path}" in broken.message
    assert broken.name == "mine_2"


def test_a_folder_that_is_not_there_is_said_to_be_none(tmp_path):
    """A mistyped TUNEWISE_STUDIES does not pass in silence."""
    _, (broken,) = find_studies([tmp_path / "none"])

    assert "is no folder, so no study was looked for in it. Correct TUNEWISE_STUDIES" in broken.message


def test_a_study_is_given_by_its_name_or_its_path(studies):
    """The same file is meant by its path, its folder and its name."""
    path = write_toy_study(studies / "mine", name="mine")

    assert locate("mine") == locate(str(path)) == locate(str(path.parent)) == path


def test_a_broken_file_takes_no_study_s_name(studies):
    """The good study keeps its name; the broken one goes by the name that the graph shows, wherever it lies."""
    path = write_toy_study(studies / "other", name="mine")
    for wrong in (studies / "mine" / "defs.yaml", studies / "wrong.yaml"):
        wrong.parent.mkdir(exist_ok=True)
        wrong.write_text("name: broken\nbudget: huge\n")

    assert locate("mine") == path
    assert locate("mine_2") == studies / "mine" / "defs.yaml"
    assert locate("wrong") == studies / "wrong.yaml"


def test_a_name_that_nothing_has_is_answered_with_the_nearest(studies):
    """The error lists what there is."""
    with pytest.raises(
        StudyError, match=r"'movie_revews' is neither a study file nor.*movie_reviews.*Did you mean 'movie_reviews'"
    ):
        locate("movie_revews")


PROGRAM = """
open({marker!r}, "w")
import dagster as dg
@dg.asset
def smuggled(): ...
class Thing(dg.Component): ...
"""


def test_a_hostile_folder_is_refused_file_by_file_and_the_study_in_it_runs(studies, ready_home, tmp_path, monkeypatch):
    """Programs, a foreign component, template variables and a name of no encoding: an error each, and nothing is imported."""
    marker = tmp_path / "was_imported"
    monkeypatch.syspath_prepend(studies)
    path = write_toy_study(studies / "mine", name="mine")
    programs = ["foreign_of_a_studies_folder.py", "defs.py", "mine/__init__.py", "mine/conftest.py", "mine/x.pth"]
    for name in programs:
        (studies / name).write_text(PROGRAM.format(marker=str(marker)))
    (studies / "alien.yaml").write_text("type: foreign_of_a_studies_folder.Thing\nattributes: {name: alien}\n")
    (studies / "alien_beside.yaml").write_text(
        "type: pipelines.component.StudyComponent\ntemplate_vars_module: foreign_of_a_studies_folder\n"
        "attributes: {name: beside, data: {source: mine/texts.csv}}\n"
    )
    (studies / os.fsdecode(b"caf\xe9.yaml")).write_text(path.read_text().replace("mine", "coffee"))
    found, broken = find_studies([studies])
    graph = defs().resolve_asset_graph().get_all_asset_keys()
    done = run_study(read_study(path), path.parent, ready_home, only=(), progress=no_progress)

    assert [one.study.name for one in found] == ["mine"]
    assert len(broken) == len(programs) + 3
    assert sum("is a program" in one.message for one in broken) == len(programs)
    assert any("was not imported" in one.message and one.name == "alien" for one in broken)
    assert any("'template_vars_module' cannot stand beside" in one.message for one in broken)
    assert any("caf\\udce9.yaml has a name that is not UTF-8" in one.message for one in broken)
    assert {dg.AssetKey([one.name, "study"]) for one in broken} | {dg.AssetKey(["mine", "comparison"])} <= graph
    assert dg.AssetKey(["smuggled"]) not in graph
    assert "foreign_of_a_studies_folder" not in sys.modules
    assert not marker.exists()
    assert (done.failures, done.has_comparison) == ((), True)
