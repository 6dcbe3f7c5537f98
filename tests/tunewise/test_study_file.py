"""The study file: everything wrong is shown at once, at its line, with what is allowed and the nearest right name."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tunewise.errors import StudyError
from tunewise.study_file import Problem, check_study, read_study

GOOD = """\
    name: mine
    data: {source: texts.csv}
    variants: [majority]
"""


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a study beside an existing table."""
    (tmp_path / "texts.csv").write_text("text,label\na,b\n")

    def write(text: str, name: str = "study.yaml") -> Path:
        path = tmp_path / name
        path.write_text(dedent(text))
        return path

    return write


def only(problems: list[Problem]) -> Problem:
    """Return the one problem there is."""
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def test_bare_fields_and_a_component_hold_the_same_study(write):
    """A file holds the fields alone, or under `attributes` as Dagster wants them; both mean the same."""
    bare = read_study(write(GOOD))
    wrapped = "type: pipelines.component.StudyComponent\nattributes:\n" + "".join(
        f"  {line}\n" for line in dedent(GOOD).splitlines()
    )

    assert read_study(write(wrapped, "defs.yaml")) == bare


def test_everything_wrong_is_shown_at_once_in_the_order_of_lines(write):
    """Unknown names, wrong values and missing fields are all reported, each at the line it stands in."""
    path = write("""\
        name: Mine
        data:
          source: texts.csv
          txt: body
        variants:
          - method: lgistic_regression
          - method: majority
            settings: {alpha: 1}
        budgt: quick
        metric: accurracy
    """)
    problems = check_study(path)

    assert [(problem.line, problem.path) for problem in problems] == [
        (1, "name"),
        (4, "data.txt"),
        (6, "variants[0].method"),
        (8, "variants[1].settings.alpha"),
        (9, "budgt"),
        (10, "metric"),
    ]
    assert problems[1].nearest == "text"
    assert problems[2].nearest == "logistic_regression"
    assert "majority" in problems[2].allowed
    assert problems[4].nearest == "budget"
    assert problems[5].allowed == ("accuracy", "macro_f1", "mcc", "log_loss")


def test_a_problem_reads_as_file_line_place_message(write):
    """One line, in the form editors jump to, with what is allowed and the nearest right name."""
    path = write(GOOD + "    budget: quik\n")

    assert str(only(check_study(path))) == (
        f"{path}:4: budget: 'quik' is not allowed. Allowed: quick, standard, thorough. Did you mean 'quick'?"
    )


def test_reading_lists_all_problems(write):
    """The error of a run holds every line the check prints."""
    with pytest.raises(StudyError, match=r"2 problems.\n.*:4: budget.*\n.*:5: seeds"):
        read_study(write(GOOD + "    budget: quik\n    seeds: 3\n"))


def test_contradictions_are_found_beside_wrong_fields(write):
    """Two variants under one name are reported even where another variant is wrong, at their own line."""
    path = write("""\
        name: mine
        data: {source: texts.csv}
        budget: quik
        variants:
          - majority
          - lgistic_regression
          - majority
        seeds: [1, 2, 1]
    """)
    found = {(problem.line, problem.path): problem.message for problem in check_study(path)}

    assert "Two variants are called 'majority'" in found[7, "variants[2]"]
    assert "a second time" in found[8, "seeds[2]"]
    assert (3, "budget") in found


def test_a_key_that_stands_twice_is_an_error(write):
    """YAML itself keeps the last of two equal keys and says nothing."""
    problem = only(check_study(write(GOOD + "    budget: quick\n    budget: standard\n")))

    assert problem.line == 5
    assert "second time (first in line 4)" in problem.message


@pytest.mark.parametrize("text", ["'{{ env.SECRET }}'", "'x {{ 1 + 1 }}'"])
def test_templates_are_refused(write, text):
    """A study is data: nothing in it is filled in from elsewhere."""
    problem = only(check_study(write(GOOD + f"    description: {text}\n")))

    assert problem.line == 4
    assert "is a template" in problem.message


def test_a_foreign_component_is_refused_and_not_imported(write, tmp_path, monkeypatch):
    """Naming a module in a study does not import it."""
    (tmp_path / "foreign_module_of_a_study.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    problem = only(
        check_study(write("type: foreign_module_of_a_study.Thing\nattributes: {name: mine, data: {source: texts.csv}}"))
    )

    assert problem.line == 1
    assert "was not imported. The only one is pipelines.component.StudyComponent" in problem.message


def test_nothing_may_stand_beside_type_and_attributes(write):
    """Dagster would import the module that such a key names."""
    text = (
        "type: pipelines.component.StudyComponent\n"
        "template_vars_module: os\n"
        "attributes: {name: mine, data: {source: texts.csv}, variants: [majority]}\n"
    )

    assert "'template_vars_module' cannot stand beside" in only(check_study(write(text))).message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "no YAML"),
        ("!!python/object/apply:os.getcwd []", "a mapping of fields"),
        ("name: !!python/name:os.system\ndata: {source: texts.csv}", "no YAML"),
        ("", "a mapping of fields"),
        ("- a\n- b", "a mapping of fields"),
        ("name: a\n---\nname: b", "no YAML"),
        ("type: pipelines.component.StudyComponent", "`attributes` is missing"),
        ("a: &a [*a]\nname: mine\ndata: {source: texts.csv}", "an alias stands inside what it refers to itself"),
    ],
)
def test_what_is_no_study_is_said_to_be_none(write, text, message):
    """Broken YAML, Python tags, lists, several documents and lone envelopes each get one sentence, and run nothing."""
    problems = check_study(write(text))

    assert any(message in problem.message for problem in problems), [str(problem) for problem in problems]


def test_a_file_that_is_not_there_is_a_problem(tmp_path):
    """The message names the file and the reason."""
    assert "cannot be read" in only(check_study(tmp_path / "none.yaml")).message


def test_a_table_that_is_not_there_is_a_problem_at_its_line(write):
    """A relative source is looked for beside the study file."""
    problem = only(check_study(write("name: mine\ndata:\n  source: other.csv\nvariants: [majority]\n")))

    assert (problem.line, problem.path) == (3, "data.source")
    assert "Relative paths start from the study's folder" in problem.message


def test_only_the_branch_that_was_meant_complains(write):
    """A source written as a package file is not told that it should be text."""
    problems = check_study(
        write("""\
        name: mine
        data:
          source: {package: corpus, version: "1", member: a.csv}
        variants: [majority]
    """)
    )

    assert [(problem.line, problem.path) for problem in problems] == [(3, "data.source.sha256")]


def test_one_wrong_variant_leaves_no_complaint_about_a_missing_one(write):
    """The list that pydantic empties of which every item is wrong and then misses its items; that echo is left out."""
    problem = only(check_study(write("name: mine\ndata: {source: texts.csv}\nvariants:\n  - methd: majority\n")))

    assert (problem.line, problem.path, problem.nearest) == (4, "variants[0].methd", "method")


def test_the_shipped_study_is_right():
    """The study of the repository passes its own check."""
    path = Path(__file__).parents[2] / "pipelines" / "studies" / "movie_reviews" / "defs.yaml"

    assert check_study(path) == []
    assert read_study(path).name == "movie_reviews"
