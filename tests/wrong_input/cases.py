"""Wrong tables, study files and archives, each with its expected answer.

``python tests/wrong_input/cases.py FOLDER`` writes all of them below a folder, so that they can be looked at.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[[Path], Any]

N_ROWS = 60
CLASSES = ("no", "yes")
FRENCH = "La réalité est différente de ce que l’on croit, très souvent. Élève, garçon, naïve, à côté"


@dataclass(frozen=True)
class Table:
    """Files beside a study file, and what becomes of the study."""

    name: str
    make: Make
    data: dict[str, Any] = field(default_factory=dict)
    """What the study says of its data; ``source`` is the first file unless given."""
    refused: str = ""
    """Pattern of the refusal."""
    texts: tuple[Any, ...] = ()
    """Texts that are read, where the table is read."""
    classes: tuple[Any, ...] | None = None
    warned: dict[str, str] = field(default_factory=dict)
    """Checks of the audit that fail, with a pattern of what they say."""


@dataclass(frozen=True)
class StudyFile:
    """The bytes of a study file, and a pattern that one of its problems has; a table `texts.csv` stands beside it."""

    name: str
    content: str | bytes
    refused: str
    line: int | None = None


@dataclass(frozen=True)
class Archive:
    """An archive, the member that is asked for, and a pattern of the refusal."""

    name: str
    make: Make
    member: str
    refused: str
    is_folder: bool = False


# Tables


def written(name: str, content: str | bytes, encoding: str = "utf-8") -> Make:
    """Return what writes ``content`` into a file, gzipped where its name says so."""
    data = content.encode(encoding) if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


def rows(n: int = N_ROWS, separator: str = ",", end: str = "\n", mark: str = "") -> str:
    """Return a table whose classes take turns."""
    lines = [f"text{separator}label", *(f"text {mark}{i} of many{separator}{CLASSES[i % 2]}" for i in range(n))]
    return end.join(lines) + end


def texts(n: int = N_ROWS, mark: str = "") -> tuple[str, ...]:
    """Return the texts that `rows` wrote."""
    return tuple(f"text {mark}{i} of many" for i in range(n))


def objects(n: int = N_ROWS, **more: Any) -> str:
    """Return JSON lines whose classes take turns."""
    return "".join(json.dumps({"text": f"text {i} of many", "label": CLASSES[i % 2], **more}) + "\n" for i in range(n))


def parquet(name: str = "a.parquet", **columns: Any) -> Make:
    """Return what writes columns as Parquet; text and classes are those of `rows` unless given."""
    table = {"text": list(texts()), "label": [CLASSES[i % 2] for i in range(N_ROWS)]} | columns
    return lambda folder: pq.write_table(pa.table(table), folder / name)


def both(*makes: Make) -> Make:
    """Return what makes several files."""
    return lambda folder: [make(folder) for make in makes]


def cut(make: Make, name: str, n: int) -> Make:
    """Return what makes a file and cuts ``n`` bytes off its end."""

    def cutting(folder: Path) -> None:
        make(folder)
        (folder / name).write_bytes((folder / name).read_bytes()[:-n])

    return cutting


def invalid_utf8(folder: Path) -> None:
    """Write a text column whose bytes are no text."""
    values = pa.StringArray.from_buffers(N_ROWS, *offsets_and_bytes([b"caf\xe9"] * N_ROWS))
    pq.write_table(pa.table({"text": values, "label": [CLASSES[i % 2] for i in range(N_ROWS)]}), folder / "a.parquet")


def offsets_and_bytes(values: list[bytes]) -> tuple[pa.Buffer, pa.Buffer]:
    """Return the buffers of a column of bytes."""
    array = pa.array(values, pa.binary())
    return array.buffers()[1], array.buffers()[2]


def labelled(labels: list[str]) -> str:
    """Return a table with these labels."""
    return "text,label\n" + "".join(f"text {i} of many,{label}\n" for i, label in enumerate(labels))


MILLION = "word " * 200_000

TABLES = (
    # encodings
    Table("utf_8_with_a_mark", written("a.csv", rows(mark="é"), "utf-8-sig"), texts=texts(mark="é")),
    Table("utf_16_le_with_a_mark", written("a.csv", "\ufeff" + rows(mark="é"), "utf-16-le"), texts=texts(mark="é")),
    Table("utf_16_be_with_a_mark", written("a.csv", "\ufeff" + rows(mark="é"), "utf-16-be"), texts=texts(mark="é")),
    Table("utf_16_gzipped", written("a.tsv.gz", rows(separator="\t", mark="é"), "utf-16"), texts=texts(mark="é")),
    Table("utf_32_with_a_mark", written("a.csv", rows(mark="日"), "utf-32"), texts=texts(mark="日")),
    Table("utf_16_json_lines", written("a.jsonl", "\ufeff" + objects(), "utf-16-le"), texts=texts()),
    Table(
        "utf_16_without_a_mark",
        written("a.csv", rows(), "utf-16-le"),
        refused=r"a\.csv holds [\d,]+ zero bytes .* UTF-16 without a byte order mark; if so, declare `encoding: utf-16-le`",
    ),
    Table("utf_16_declared", written("a.csv", rows(), "utf-16-be"), {"encoding": "utf-16-be"}, texts=texts()),
    Table("latin_1_declared", written("a.csv", rows(mark="é"), "latin-1"), {"encoding": "latin-1"}, texts=texts(mark="é")),
    Table(
        "latin_1_detected",
        written("a.csv", rows(mark=FRENCH.replace(",", "").replace("’", "'")), "latin-1"),
        texts=texts(mark=FRENCH.replace(",", "").replace("’", "'")),
        warned={"unreadable_characters": r"a\.csv is not UTF-8 \(line 2\).*read as cp1252.*declare `encoding: cp1252`"},
    ),
    Table(
        "windows_quotes_detected",
        written("a.csv", rows(mark=FRENCH.replace(",", "")), "cp1252"),
        texts=texts(mark=FRENCH.replace(",", "")),
        warned={"unreadable_characters": r"read as cp1252"},
    ),
    Table(
        "polish_is_not_guessed",
        written("a.csv", rows(mark="Zażółć gęślą jaźń to jest bardzo dobry film"), "cp1250"),
        refused=r"a\.csv, line 2: bytes that are not utf-8, and what else they are is not plain\. Name the encoding",
    ),
    Table(
        "russian_is_not_guessed",
        written("a.csv", rows(mark="Это очень хороший фильм"), "cp1251"),
        refused=r"line 2: bytes that are not utf-8, and what else they are is not plain\. .*`cp1251` \(Cyrillic\)",
    ),
    Table(
        "one_damaged_character",
        written("a.csv", rows(10, mark="été").encode() + b"caf\xe9,no\n"),
        refused=r"a\.csv, line 12: bytes that are not utf-8, although other characters beyond ASCII are\. The file is damaged",
    ),
    Table(
        "declared_encoding_is_wrong",
        written("a.csv", rows(mark="\xe9"), "latin-1"),
        {"encoding": "utf-8"},
        refused=r"a\.csv, line 2: bytes that are not utf-8\. If the file is in another encoding, name it",
    ),
    Table(
        "declared_encoding_contradicts_the_mark",
        written("a.csv", rows(), "utf-8-sig"),
        {"encoding": "cp1252"},
        refused=r"starts with the byte order mark of utf-8, and encoding='cp1252' was declared",
    ),
    Table(
        "encoding_is_unknown", written("a.csv", rows()), {"encoding": "utf-9"}, refused=r"encoding='utf-9' is unknown\. Name one"
    ),
    Table("encoding_is_of_no_text", written("a.csv", rows()), {"encoding": "base64"}, refused=r"encoding='base64' is unknown"),
    Table(
        "zero_bytes_in_a_text",
        written("a.csv", rows(mark="\0")),
        texts=texts(mark="\0"),
        warned={"unreadable_characters": r"60 texts with U\+FFFD.* or with U\+0000"},
    ),
    Table("zero_bytes_alone", written("a.csv", bytes(4096)), refused=r"holds 4,096 zero bytes .* It is no text, or was cut"),
    # shape
    Table(
        "quotes_and_line_breaks", written("a.csv", 'text,label\n"say ""hi"",\nyou",no\nb,yes\n'), texts=('say "hi",\nyou', "b")
    ),
    Table("windows_line_ends", written("a.csv", rows(end="\r\n")), texts=texts()),
    Table("old_mac_line_ends", written("a.csv", rows(end="\r")), texts=texts()),
    Table("semicolons", written("a.csv", rows(separator=";")), texts=texts()),
    Table("bars", written("a.csv", rows(separator="|")), texts=texts()),
    Table(
        "commas_in_a_tsv",
        written("a.tsv", rows()),
        refused=r"a\.tsv is a table of one column, 'text,label'\. It seems to have a comma where a tab should be",
    ),
    Table("no_separator_known", written("a.csv", rows(separator="^")), refused=r"no column 'text'.* Its columns: 'text\^label'"),
    Table(
        "no_header", written("a.csv", "fine,no\nbad,yes\n"), refused=r"a\.csv has no column 'text'\. Its columns: 'fine', 'no'"
    ),
    Table(
        "another_name", written("a.csv", rows().replace("label", "lable")), refused=r"no column 'label'\. The nearest: 'lable'"
    ),
    Table(
        "short_row", written("a.csv", rows(3) + "alone\n"), refused=r"row that starts in line 5: 1 cells where the header has 2"
    ),
    Table(
        "long_row", written("a.csv", rows(3) + "a,b,c\n"), refused=r"row that starts in line 5: 3 cells where the header has 2"
    ),
    Table("open_quote", written("a.csv", rows(3) + '"a,no\n'), refused=r"row that starts in line 5: unexpected end of data"),
    Table("column_twice", written("a.csv", "text,label,text\na,b,c\n"), refused=r"a\.csv has 2 columns called 'text'"),
    Table("empty_file", written("a.csv", ""), refused=r"a\.csv is empty\. Give a table with a header"),
    Table("empty_gzip", written("a.csv.gz", ""), refused=r"a\.csv\.gz has no column 'text'\. Its columns: none"),
    Table("header_only", written("a.csv", "text,label\n"), refused=r"a\.csv has no rows"),
    Table("text_of_a_megabyte", written("a.csv", f"text,label\n{MILLION},no\nb,yes\n"), texts=(MILLION, "b")),
    # archives and other content
    Table("cut_gzip", cut(written("a.csv.gz", rows()), "a.csv.gz", 12), refused=r"a\.csv\.gz is cut short or is no gzip file"),
    Table("no_gzip", lambda folder: (folder / "a.csv.gz").write_text(rows()), refused=r"is cut short or is no gzip file"),
    Table(
        "gzip_without_its_name", written("a.csv", gzip.compress(rows().encode())), refused=r"a\.csv is gzipped, which only a name"
    ),
    Table("spreadsheet_called_csv", written("a.csv", b"PK\x03\x04" + bytes(40)), refused=r"is a zip archive or a spreadsheet"),
    Table("spreadsheet", written("a.xlsx", b"PK\x03\x04"), refused=r"a\.xlsx was given as a table\. Tables end in \.csv"),
    Table("zip", written("a.zip", b"PK\x03\x04"), refused=r"a\.zip was given as a table"),
    Table("parquet_called_csv", written("a.csv", b"PAR1" + bytes(40)), refused=r"a\.csv is Parquet, which only a name"),
    Table("a_folder", lambda folder: (folder / "a.csv").mkdir(), refused=r"a\.csv is a folder; a file is needed here"),
    # JSON lines
    Table("json_array", written("a.jsonl", json.dumps([{"text": "a"}])), refused=r"line 1: a list\. .*one list, write each"),
    Table("json_array_over_lines", written("a.jsonl", '[\n{"text": "a"}\n]\n'), refused=r"line 1: a list\..*`jq -c '\.\[\]'`"),
    Table("json_cut", written("a.jsonl", objects(3) + '{"text": "a'), refused=r"a\.jsonl, line 4: not JSON"),
    Table(
        "json_number", written("a.jsonl", objects(3) + "5\n"), refused=r"a\.jsonl, line 4: a int\. Every line holds one object"
    ),
    Table("json_key_twice", written("a.jsonl", '{"text": "a", "text": "b"}\n'), refused=r"line 1: the key 'text' stands twice"),
    Table(
        "json_too_deep", written("a.jsonl", '{"text": ' + "[" * 100_000), refused=r"line 1: lists or objects within one another"
    ),
    Table(
        "json_mixed", written("a.jsonl", objects(3) + '{"text": "a", "label": 1}\n'), refused=r"'label' of .*mixes int.* and str"
    ),
    Table("json_text_is_a_number", written("a.jsonl", '{"text": 5, "label": "a"}\n'), refused=r"'text' holds int, such as 5"),
    Table(
        "json_several_labels",
        written("a.jsonl", '{"text": "a", "label": ["x", "y"]}\n{"text": "b", "label": ["x"]}\n'),
        refused=r"'label' holds several labels a row, such as \['x'.*\]: multi-label data",
    ),
    Table(
        "json_half_a_character", written("a.jsonl", objects(4).replace("text 0", r"text \ud800")), texts=("text \ufffd of many",)
    ),
    # Parquet
    Table("parquet_cut", cut(parquet(), "a.parquet", 40), refused=r"a\.parquet cannot be read: .*Write it again"),
    Table("parquet_that_is_none", written("a.parquet", rows()), refused=r"a\.parquet cannot be read: .*correct its ending"),
    Table(
        "parquet_nested_text",
        parquet(text=[{"body": "a"}] * N_ROWS),
        refused=r"'text' holds dict, such as \{'body': 'a'\}\. Name a column of text",
    ),
    Table("parquet_lists_of_labels", parquet(label=[["x"], ["y"]] * (N_ROWS // 2)), refused=r"several labels a row"),
    Table("parquet_bytes", parquet(text=[b"a"] * N_ROWS), refused=r"'text' of .*a\.parquet holds binary\. A text is text"),
    Table(
        "parquet_days",
        parquet(label=pa.array([0, 1] * (N_ROWS // 2), pa.timestamp("ns"))),
        refused=r"'label' of .*a\.parquet holds timestamp\[ns\]\. A text is text; a label is text, an integer or a boolean",
    ),
    Table("parquet_bytes_called_text", invalid_utf8, refused=r"a\.parquet cannot be read: .*UTF8"),
    Table("parquet_dictionary", parquet(label=pa.array(list(CLASSES) * (N_ROWS // 2)).dictionary_encode()), texts=texts()),
    Table("parquet_booleans", parquet(label=[True, False] * (N_ROWS // 2)), texts=texts(), classes=(False, True)),
    Table("parquet_decimals", parquet(label=[0.5, 1.5] * (N_ROWS // 2)), refused=r"holds decimal numbers, such as .* regression"),
    # classes
    Table("one_class", written("a.csv", labelled(["no"] * 9)), refused=r"'label' holds one class, 'no', in all 9 rows"),
    Table("no_labels", written("a.csv", labelled([""] * 9)), refused=r"'label' holds no label at all"),
    Table(
        "missing_labels", written("a.csv", labelled(["no", "yes", ""] * 20)), warned={"missing_values": r"20 rows with no label"}
    ),
    Table("too_many_classes", written("a.csv", labelled([f"c{i}" for i in range(1_200)])), refused=r"holds 1,200 classes"),
    Table("measurements", written("a.csv", labelled([f"{i}.5" for i in range(50)])), refused=r"50 different decimal numbers"),
    Table("numbers_stay_text", written("a.csv", labelled(["01", "1"] * 30)), texts=texts(), classes=("01", "1")),
    Table(
        "classes_of_one_row",
        written("a.csv", labelled(["no", "yes"] * 30 + [f"rare {i}" for i in range(5)])),
        warned={"small_classes": r"class(es)? with fewer than 5 training rows", "classes_held_out": r"without held-out rows"},
    ),
    Table(
        "classes_that_differ_between_sides",
        both(written("a.csv", labelled(["no", "yes"] * 30)), written("b.csv", labelled(["no", "maybe", "new"]))),
        {"split": {"test": "b.csv"}},
        warned={"classes_in_training": r"2 classes of 4 with training rows\. None for 'maybe', 'new': no method can learn them"},
    ),
    Table(
        "no_class_in_common",
        both(written("a.csv", labelled(["no"] * 30)), written("b.csv", labelled(["yes"] * 30))),
        {"split": {"test": "b.csv"}},
        refused=r"training rows have the class 'no', so nothing can be told apart",
    ),
    Table(
        "two_kinds_of_label",
        both(written("a.csv", labelled(["0", "1"])), written("b.jsonl", '{"text": "a", "label": 1}\n')),
        {"split": {"test": "b.jsonl"}},
        refused=r"'label' mixes int \(such as 1\) and str",
    ),
    Table("too_few_rows", written("a.csv", rows(2)), refused=r"No row is left for (development|test|train)"),
    Table(
        "unknown_sides",
        written("a.csv", "text,label,side\na,no,train\nb,yes,holdout\n"),
        {"split": {"column": "side"}},
        refused=r"'side' says which side a row is on and holds 'holdout'",
    ),
    Table(
        "ids_twice",
        written("a.csv", "text,label,n\na,no,7\nb,yes,7\n"),
        {"id": "n"},
        refused=r"'n' was named as id and holds '7' 2",
    ),
    Table(
        "ratings_of_words",
        written("a.csv", "text,rating\na,good\nb,bad\n"),
        {"ratings": {"bands": {"low": {"below": 0}, "high": {"above": 0}}}},
        refused=r"'rating' was named for ratings and holds 'good', which is no number",
    ),
    # paths
    Table("no_file", lambda _: None, {"source": "none.csv"}, refused=r"data\.source: There is no .*none\.csv"),
    Table("a_name_too_long", lambda _: None, {"source": "a" * 300 + ".csv"}, refused=r"data\.source: There is no "),
    Table("nobody_s_home", lambda _: None, {"source": "~no_such_user_here/a.csv"}, refused=r"data\.source: There is no "),
    Table(
        "a_scheme_that_is_not_read",
        lambda _: None,
        {"source": "s3://bucket/a.csv"},
        refused=r"starts with s3:, which is not read",
    ),
    Table(
        "text_is_the_label",
        written("a.csv", rows()),
        {"label": "text"},
        refused=r"'text' is named for the text and for its class",
    ),
)


# Study files

GOOD = "name: mine\ndata: {source: texts.csv}\nvariants: [majority]\n"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 400))

STUDY_FILES = (
    StudyFile("empty", "", r"mapping of fields"),
    StudyFile("a_list", "- a\n", r"mapping of fields"),
    StudyFile("a_word", "majority\n", r"mapping of fields"),
    StudyFile("open_bracket", "name: [\n", r"no YAML"),
    StudyFile("a_tab", "name: mine\ndata:\n\tsource: texts.csv\n", r"no YAML.*'\\t'", 3),
    StudyFile("two_documents", "name: a\n---\nname: b\n", r"no YAML"),
    StudyFile("zero_byte", b"name: mine\0\n", r"no YAML"),
    StudyFile("control_character", b"name: mi\x07ne\n", r"no YAML"),
    StudyFile("utf_16", GOOD.encode("utf-16"), r"cannot be read"),
    StudyFile("latin_1", "description: été\n".encode("latin-1"), r"cannot be read"),
    StudyFile("half_a_character", GOOD + 'description: "\\ud800"\n', r"half of a character", 4),
    StudyFile("no_character", GOOD + 'description: "\\U00110000"\n', r"no YAML"),
    StudyFile("a_table", "text,label\n" * 10_000, r"more than 64,000 bytes, which is no study"),
    StudyFile("key_twice", GOOD + "name: other\n", r"'name' stands here a second time", 4),
    StudyFile("template", GOOD + "description: '{{ env.TOKEN }}'\n", r"is a template", 4),
    StudyFile("python_name", GOOD + "description: !!python/name:os.system\n", r"no YAML"),
    StudyFile(
        "foreign_component",
        f"type: os.path\nattributes:\n  {GOOD.splitlines()[0]}\n",
        r"'os\.path' is not accepted, and was not",
        1,
    ),
    StudyFile("component_that_is_a_list", "type: [a]\nattributes: {name: mine}\n", r"type that is no name is not accepted", 1),
    StudyFile("key_that_is_a_list", "type: a\n? [a, b]\n: c\nattributes: {name: mine}\n", r"a key that is no name"),
    StudyFile("billion_laughs", GOOD + "description: *a9\n" + BOMB, r"no YAML.*undefined alias"),
    StudyFile(
        "billion_laughs_in_order",
        BOMB + GOOD + "description: *a9\n",
        r"aliases written out it would hold more than 20,000 values",
    ),
    StudyFile("alias_of_itself", "a: &a [*a]\n" + GOOD, r"alias stands inside what it refers to itself", 1),
    StudyFile("chain_of_aliases", CHAIN + GOOD, r"more than 30 lists or mappings within one another"),
    StudyFile("too_deep", GOOD + "description: " + "[" * 5_000 + "\n", r"more than 30 lists or mappings", 4),
    StudyFile(
        "no_such_day", GOOD + "description: 2024-13-45\n", r"'2024-13-45' cannot be read as timestamp; text stands between", 4
    ),
    StudyFile("number_of_5000_digits", GOOD + f"seeds: [{'9' * 5_000}]\n", r"cannot be read as int", 4),
    StudyFile("tag_of_another_kind", GOOD + "budget: !!bool maybe\n", r"'maybe' cannot be read as bool", 4),
    StudyFile(
        "name_is_a_number", "name: 7\ndata: {source: texts.csv}\n", r"name: Input should be a valid string; 7 was given", 1
    ),
    StudyFile("name_is_nothing", "name:\ndata: {source: texts.csv}\n", r"name: .*None was given", 1),
    StudyFile("name_climbs", "name: ../x\ndata: {source: texts.csv}\n", r"'\.\./x' is no name", 1),
    StudyFile("no_data", "name: mine\n", r"'data' is missing"),
    StudyFile("share_of_nothing", "name: mine\ndata: {source: texts.csv, split: {test: .nan}}\n", r"data\.split"),
    StudyFile(
        "share_in_quotes", 'name: mine\ndata: {source: texts.csv, split: {test: "0.2"}}\n', r"write the share 0\.2 without quotes"
    ),
    StudyFile("shares_too_large", "name: mine\ndata: {source: texts.csv, split: {test: 0.9}}\n", r"at most 0\.5"),
    StudyFile("seed_too_large", GOOD + "seeds: [4294967296]\n", r"seeds\[0\]", 4),
    StudyFile("seed_is_true", GOOD + "seeds: [true]\n", r"seeds\[0\].*True was given", 4),
    StudyFile("seeds_twice", GOOD + "seeds: [1, 1]\n", r"seeds\[1\]: 1 stands here a second time", 4),
    StudyFile(
        "method_misspelt", "name: mine\ndata: {source: texts.csv}\nvariants: [majorty]\n", r"no method 'majorty'.*'majority'", 3
    ),
    StudyFile(
        "setting_misspelt", GOOD.replace("[majority]", "[{method: lora, settings: {rnk: 4}}]"), r"'rnk' is no field.*'rank'", 3
    ),
    StudyFile("cron_of_four", GOOD + "cron: 0 3 1 *\n", r"has 4 fields; five are needed", 4),
    StudyFile("secret_in_the_open", GOOD + "tracking: {uri: 'http://me:secret@host'}\n", r"holds a password", 4),
    StudyFile(
        "bands_overlap",
        "name: mine\ndata: {source: texts.csv, ratings: {bands: {a: {above: 0}, b: {above: 1}}}}\n",
        r"overlap",
        2,
    ),
)


# Archives


def tar(*members: tuple[tarfile.TarInfo, bytes], name: str = "a.tar.gz") -> Make:
    """Return what writes a tar archive of these members."""

    def make(folder: Path) -> None:
        with tarfile.open(folder / name, "w:gz") as archive:
            for info, data in members:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))

    return make


def zipped(*members: tuple[str, bytes], name: str = "a.zip") -> Make:
    """Return what writes a zip archive of these members, one name as often as it is given."""

    def make(folder: Path) -> None:
        with zipfile.ZipFile(folder / name, "w") as archive:
            for member, data in members:
                archive.writestr(zipfile.ZipInfo(member), data)

    return make


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """Return the head of a member."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


ARCHIVES = (
    Archive("no_archive", written("a.zip", b"hello"), "x", r"a\.zip is neither a zip nor a tar archive"),
    Archive("empty", written("a.zip", b""), "x", r"is neither a zip nor a tar archive"),
    Archive("cut_tar", cut(tar((entry("x"), bytes(range(256)) * 900)), "a.tar.gz", 60), "x", r"damaged|neither a zip nor"),
    Archive("cut_zip", cut(zipped(("x", b"y" * 5_000)), "a.zip", 30), "x", r"damaged|neither a zip nor"),
    Archive(
        "no_such_member",
        zipped(("top/texts.csv", b"y")),
        "text.csv",
        r"a\.zip holds no member 'text\.csv'\. Nearest are: top/texts",
    ),
    Archive("member_is_a_folder", zipped(("m/a", b"y"), ("n/b", b"y")), "m", r"m is a folder in a\.zip; a file is needed"),
    Archive("member_is_a_link", tar((entry("x", tarfile.SYMTYPE, "/etc/passwd"), b"")), "x", r"x is a link or a device"),
    Archive("member_is_a_hard_link", tar((entry("x", tarfile.LNKTYPE, "y"), b"")), "x", r"x is a link or a device"),
    Archive("climbing_tar", tar((entry("m/../../x"), b"y")), "m", r"leads outside the folder", is_folder=True),
    Archive("climbing_zip", zipped(("m/../../x", b"y")), "m", r"leads outside the folder", is_folder=True),
    Archive("backslashes", zipped(("m/..\\x", b"y")), "m", r"leads outside the folder", is_folder=True),
    Archive("member_twice", tar((entry("m/x"), b"y"), (entry("m/./x"), b"z")), "m", r"names .* twice", is_folder=True),
    Archive("damaged_inner_archive", zipped(("in.tar.gz", b"\x1f\x8b" + bytes(50))), "in.tar.gz!x", r"neither a zip nor|damaged"),
)


def write_study(case: Table, folder: Path) -> Path:
    """Write a table's files and its study, and return the study file."""
    folder.mkdir(parents=True, exist_ok=True)
    case.make(folder)
    names = sorted(path.name for path in folder.iterdir())
    data = {"source": names[0] if names else "none.csv"} | case.data
    study = {"name": "mine", "data": data, "variants": ["majority"], "seeds": [0], "compute": {"cpus": 1}}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def write_study_file(case: StudyFile, folder: Path) -> Path:
    """Write a study file beside a table that is right, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts.csv").write_text(rows())
    path = folder / "study.yaml"
    path.write_bytes(case.content if isinstance(case.content, bytes) else case.content.encode())
    return path


def write_archive(case: Archive, folder: Path) -> Path:
    """Write an archive and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    case.make(folder)
    return next(folder.iterdir())


def write_all(folder: Path) -> None:
    """Write every case into a folder of its name below ``folder``."""
    for case in TABLES:
        write_study(case, folder / "tables" / case.name)
    for case in STUDY_FILES:
        write_study_file(case, folder / "study_files" / case.name)
    for case in ARCHIVES:
        write_archive(case, folder / "archives" / case.name)


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
