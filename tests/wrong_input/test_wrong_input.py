"""Wrong input is read rightly, or refused in words that name the place and the remedy; it never ends in a traceback."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

import tunewise
from tunewise.data.tables import NOTE, read_file
from tunewise.errors import DataError, SourceError, TunewiseError
from tunewise.sources.unpacking import extract_file, extract_folder
from tunewise.steps import Workplace, prepare_dataset, read_stored_dataset
from tunewise.study_file import check_study, read_study

_spec = importlib.util.spec_from_file_location("wrong_input_cases", Path(__file__).with_name("cases.py"))
cases = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = cases
_spec.loader.exec_module(cases)

FEWEST = 60

LANGUAGES = {
    "cp1252": [
        "L’été, “déjà vu” – œuvre… Ça coûte 5 €",
        "Schöne Grüße aus Köln",
        "¿Qué pasó después? El niño comió",
        "As situações põem em questão a saúde",
        "Coördinatie, één, financiële — knieën",
        "Räksmörgås på köksbordet är gott",
        "La città è bella, perché no?",
        "café",
    ],
    "other": [
        ("Zażółć gęślą jaźń, bardzo dobry film", "cp1250"),
        ("Příliš žluťoučký kůň", "cp1250"),
        ("Az őszi tűz fölött ülő nők", "cp1250"),
        ("Čovjek je šetao kroz žitno polje", "cp1250"),
        ("Această maşină este roşie şi fără ţintă", "cp1250"),
        ("Это очень хороший фильм", "cp1251"),
        ("Это очень хороший фильм", "koi8-r"),
        ("Αυτή είναι μια πολύ καλή ταινία", "cp1253"),
        ("Çok güzel bir film, şahane ışık", "cp1254"),
        ("זה סרט טוב מאוד", "cp1255"),
        ("Ąžuolas yra aukštas, čia", "cp1257"),
        ("café réalité", "mac_roman"),
        ("café réalité", "cp437"),
        ("これはとても良い映画です", "shift_jis"),
        ("这是一部非常好的电影", "gb18030"),
    ],
}


def named(given):
    """Return the cases under their names."""
    return [pytest.param(case, id=case.name) for case in given]


def test_there_are_many_cases():
    """At least 60, each under a name of its own."""
    names = [(type(case), case.name) for case in (*cases.TABLES, *cases.STUDY_FILES, *cases.ARCHIVES)]

    assert len(names) == len(set(names)) >= FEWEST


def answer(path, home):
    """Return what a user is told of a study: the problems of its file or the error of its run; nothing where it runs."""
    if problems := check_study(path):
        return "\n".join(map(str, problems))
    try:
        tunewise.run(path, home=home)
    except TunewiseError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("case", named(case for case in cases.TABLES if case.refused))
def test_a_wrong_table_is_refused(case, tmp_path, home):
    """By the check or by the run, in the words that the case expects."""
    said = answer(cases.write_study(case, tmp_path / "study"), home)

    assert re.search(case.refused, said, re.DOTALL), said
    assert "Traceback" not in said


@pytest.mark.parametrize("case", named(case for case in cases.TABLES if case.texts))
def test_an_odd_table_is_read_rightly(case, tmp_path, home):
    """The texts are those that were meant, and so are the classes where the case names them."""
    path = cases.write_study(case, tmp_path / "study")
    assert check_study(path) == []
    rows = read_stored_dataset(prepare_dataset(Workplace(read_study(path), path.parent, home)))

    assert rows.texts[: len(case.texts)] == case.texts
    assert rows.classes == (case.classes or cases.CLASSES)
    assert len(rows.notes) == sum("read as" in pattern for pattern in case.warned.values())


@pytest.mark.parametrize("case", named(case for case in cases.TABLES if case.warned))
def test_what_can_be_used_is_warned_of(case, tmp_path, home):
    """The study runs to its comparison, and the audit says what is wrong."""
    verdict = tunewise.run(cases.write_study(case, tmp_path / "study"), home=home)
    found = {finding["name"]: finding for finding in verdict.findings}

    for name, pattern in case.warned.items():
        assert not found[name]["passed"]
        assert re.search(pattern, found[name]["message"], re.DOTALL), found[name]["message"]


@pytest.mark.parametrize("text", LANGUAGES["cp1252"])
def test_western_texts_are_read_without_a_declaration(text, tmp_path):
    """One text is enough, and the encoding that is read comes with a note."""
    path = tmp_path / "a.csv"
    path.write_bytes(f'text,label\n"{text}",a\n'.encode("cp1252"))
    table = read_file(path, ["text"])

    assert table["text"].to_pylist() == [text]
    assert b"declare `encoding: cp1252`" in table.schema.metadata[NOTE.encode()]


@pytest.mark.parametrize(("text", "encoding"), LANGUAGES["other"])
def test_texts_of_other_languages_are_never_taken_for_western(text, encoding, tmp_path):
    """They are refused without a declaration and read with one."""
    path = tmp_path / "a.csv"
    path.write_bytes(f'text,label\n"{text}",a\n'.encode(encoding))
    with pytest.raises(DataError, match="bytes that are not utf-8, and what else they are is not plain"):
        read_file(path, ["text"])

    assert read_file(path, ["text"], encoding)["text"].to_pylist() == [text]


@pytest.mark.parametrize("case", named(cases.STUDY_FILES))
def test_a_wrong_study_file_is_refused(case, tmp_path):
    """At its line, where the case names one."""
    problems = check_study(cases.write_study_file(case, tmp_path / "study"))
    said = [problem for problem in problems if re.search(case.refused, str(problem), re.DOTALL)]

    assert said, "\n".join(map(str, problems))
    assert case.line is None or said[0].line == case.line


@pytest.mark.parametrize("case", named(cases.ARCHIVES))
def test_a_wrong_archive_is_refused(case, tmp_path):
    """And nothing of it is written outside the target."""
    archive = cases.write_archive(case, tmp_path / "given")
    target = tmp_path / "kept" / "target"
    (target if case.is_folder else target.parent).mkdir(parents=True)
    extract = extract_folder if case.is_folder else extract_file
    with pytest.raises(SourceError, match=case.refused):
        extract(archive, case.member, target, lambda *_: None)

    assert {path.name for path in tmp_path.iterdir()} == {"given", "kept"}
    assert not [path for path in (tmp_path / "kept").rglob("*") if path.is_file() and path.name not in {"target", "x"}]


def test_the_command_shows_every_wrong_study_file_without_a_stack(tunewise, tmp_path):
    """`tunewise check` ends with 1 and prints the problem, for each of them."""
    paths = [cases.write_study_file(case, tmp_path / case.name) for case in cases.STUDY_FILES]
    code, said = tunewise("check", *paths)

    assert code == 1
    assert "Traceback" not in said
    assert all(str(path) in said for path in paths)


@pytest.mark.parametrize("name", ["short_row", "parquet_cut", "one_class"])
def test_the_command_shows_a_wrong_table_without_a_stack(tunewise, tmp_path, monkeypatch, name):
    """`tunewise run` ends with 1, prints the refusal, and shows the stack where it is asked for."""
    (case,) = (case for case in cases.TABLES if case.name == name)
    path = cases.write_study(case, tmp_path / "study")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    code, said = tunewise("run", path)

    assert code == 1
    assert "dataset failed: " in said
    assert re.search(case.refused, said, re.DOTALL)
    assert "Traceback" not in said
    assert "Stack Trace" not in said
    assert "Stack Trace" in tunewise("run", path, "--debug")[1]


def test_home_folder_of_another(tunewise, tmp_path, monkeypatch):
    """A home that is a file is said to be none."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TUNEWISE_HOME", str(tmp_path / "file"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    (case,) = (case for case in cases.TABLES if case.name == "semicolons")
    code, said = tunewise("run", cases.write_study(case, tmp_path / "study"))

    assert code == 1
    assert "Traceback" not in said
    assert f"Everything is kept in {tmp_path / 'file'}, and {tmp_path / 'file'} is no folder" in said
