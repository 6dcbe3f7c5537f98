"""Reading tables: what is read stays what it is, what cannot be read is said in words."""

import csv
import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunewise.data.tables import SIDE_COLUMN, read_file, read_table, side_of
from tunewise.errors import DataError

ROWS = [["NA", "01"], ["None", ""], ["null", "nan"], ["1e3", "TRUE"], ['say "hi", twice', "a\nb"], ["l’été", "#N/A"]]


def written(separator):
    """Return `ROWS` as CSV, quoted where needed."""
    file = io.StringIO()
    csv.writer(file, delimiter=separator).writerows([["text", "label"], *ROWS])
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "separator"),
    [("a.csv", ","), ("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t"), ("a.CSV.gz", ","), ("a.tsv.gz", "\t")],
)
def test_cells_stay_text(write, name, separator):
    """``NA``, ``01``, ``None`` and the empty cell are read as they are, whatever separates them."""
    table = read_file(write(name, written(separator)), ["label", "text"])

    assert table.column_names == ["label", "text"]
    assert [list(row) for row in zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True)] == ROWS


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.text(), st.text(min_size=1)), min_size=1))
def test_csv_is_a_round_trip(write, rows):
    """Whatever text the standard library writes is read back: quotes, line breaks, NUL, every script."""
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["text", "label"], *rows])

    table = read_file(write("a.csv", file.getvalue()), ["text", "label"])

    assert list(zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True)) == rows


@pytest.mark.parametrize(
    ("encoding", "declared"), [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("cp1252", "cp1252")]
)
@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz", "a.jsonl"])
def test_declared_encodings(write, name, encoding, declared):
    """A byte order mark is no part of the first column's name, and a declared encoding is used."""
    content = '{"text": "naïve – café", "label": "x"}\n' if name == "a.jsonl" else "text,label\nnaïve – café,x\n"
    content = content.replace(",", "\t") if ".tsv" in name else content

    assert read_file(write(name, content, encoding), ["text"], declared)["text"].to_pylist() == ["naïve – café"]


def test_a_separator_is_the_one_that_finds_the_columns(write):
    """Commas inside the header's cells do not mislead."""
    path = write("a.csv", "text;label;notes, all, of, them\nhello, you;x;\n")

    assert read_file(path, ["text", "label"])["text"].to_pylist() == ["hello, you"]


def test_tsv_without_quoting(write):
    """Where quotes do not come out even they are characters like others."""
    path = write("a.tsv", 'text\tlabel\n"Hello, he said\tx\nthe 3" nail\ty\n')

    assert read_file(path, ["text"])["text"].to_pylist() == ['"Hello, he said', 'the 3" nail']


def test_long_cells_and_blank_lines(write):
    """A cell of a million characters is read, a blank line is none, and the csv module's limit is as it was."""
    before = csv.field_size_limit()
    table = read_file(write("a.csv", f"text,label\n{'x' * 1_000_000},a\n\ny,b\n\n"), ["text", "label"])

    assert [len(text) for text in table["text"].to_pylist()] == [1_000_000, 1]
    assert csv.field_size_limit() == before


def test_json_lines_keep_kinds(write):
    """Text, integers and booleans stay apart; a key that is not there is missing."""
    path = write("a.ndjson", [{"text": "a", "n": 1, "b": True, "s": "01"}, {"text": None, "n": 2, "b": False}])
    table = read_file(path, ["text", "n", "b", "s"])

    assert table.to_pylist() == [{"text": "a", "n": 1, "b": True, "s": "01"}, {"text": None, "n": 2, "b": False, "s": None}]
    assert [table.schema.field(name).type for name in ("n", "b", "s")] == [pa.int64(), pa.bool_(), pa.string()]


def test_half_a_character_becomes_the_replacement_mark(write):
    """A lone surrogate has no bytes; pairs and all other characters stay."""
    path = write("a.jsonl", r'{"text": "a\ud800b \ud83d\ude00 \udc00 é"}')

    assert read_file(path, ["text"])["text"].to_pylist() == ["a\ufffdb 😀 \ufffd é"]


def test_parquet_keeps_kinds(tmp_path):
    """Only the columns asked for are read, in the order asked for, as they are."""
    pq.write_table(pa.table({"z": [1.5], "label": [True], "text": pa.array(["NA"]).dictionary_encode()}), tmp_path / "a.parquet")

    assert read_file(tmp_path / "a.parquet", ["text", "label"]).to_pylist() == [{"text": "NA", "label": True}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xlsx", "x", r"a\.xlsx was given as a table\. Tables end in \.csv, .*\.parquet\. Convert it"),
        ("a", "x", "was given as a table"),
        ("a.csv", "", r"a\.csv is empty\. Give a table with a header"),
        ("a.csv.gz", "", r"a\.csv\.gz has no column 'text'\. Its columns: none"),
        ("a.csv", "text,label\n", r"a\.csv has no rows\."),
        ("a.csv", "txt,Label\n1,2\n", r"no column 'text'\. The nearest: 'txt'\. Its columns: 'txt', 'Label'\. Name one of these"),
        ("a.csv", "text,label,text\n1,2,3\n", r"has 2 columns called 'text', so it is not known which is meant\."),
        ("a.csv", "text,label\na,b\nc\n", r"a\.csv, in the row that starts in line 3: 1 cells where the header has 2\."),
        ("a.csv", "text,label\n\na,b,c\n", r"line 3: 3 cells where the header has 2\..*stands between double quotes"),
        ("a.csv", 'text,label\n"a\nb",x\n"c,y\nd,z\n', r"in the row that starts in line 4: unexpected end of data\."),
        ("a.csv", 'text,label\n"a"b,x\n', r"starts in line 2: ',' expected after '\"'"),
        ("a.csv", 'text,"label\n' + "a" * 200_000, r"row that starts in line 1: unexpected end of data"),
        ("a.csv", b"text,label\na,b\nc\xe9,d\n", r"a\.csv, line 3: bytes that are not utf-8\..*`encoding: latin-1`"),
        ("a.csv.gz", b"text,label\na,b\nc\xe9,d\n", r"a\.csv\.gz, line 3: bytes that are not utf-8\."),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": \n', r"a\.jsonl, line 2: not JSON"),
        ("a.jsonl", '[{"text": "a"}]\n', r"a\.jsonl, line 1: a list\. Every line holds one object"),
        (
            "a.jsonl",
            '{"text": "a", "label": 1}\n{"label": "1"}\n',
            r"'label' of .*a\.jsonl mixes int \(such as 1\) and str \(such as '1'\)",
        ),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"label": true}\n', r"mixes bool \(such as True\) and int \(such as 1\)"),
        ("a.jsonl", '{"text": "a", "label": 99999999999999999999}\n', r"'label' of .* cannot be read"),
        ("a.jsonl", '{"text": "a", "lable": 1}\n', r"no column 'label'\. The nearest: 'lable'"),
        ("a.jsonl", "\n\n", r"has no rows"),
        ("a.parquet", "text,label\na,b\n", r"a\.parquet cannot be read: .*Write it again, or correct its ending\."),
    ],
)
def test_what_cannot_be_read_is_said(write, name, content, message):
    """The error names the file, the line or the column, and what to do."""
    with pytest.raises(DataError, match=rf"(?s){message}"):
        read_file(write(name, content), ["text", "label"], "utf-8")


def test_a_cut_archive_is_said(write):
    """A gzip file that ends early, and one that is none, are refused."""
    path = write("a.csv.gz", "text,label\n" + "a,b\n" * 5_000)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.csv\.gz is cut short or is no gzip file"):
        read_file(path, ["text"])
    path.write_bytes(b"text,label\n")
    with pytest.raises(DataError, match=r"a\.csv\.gz is cut short or is no gzip file"):
        read_file(path, ["text"])


def test_unknown_encodings_are_refused(write):
    """The error names encodings that exist."""
    with pytest.raises(DataError, match=r"encoding='utf-9' is unknown\. Name one such as utf-8"):
        read_file(write("a.csv", "text\na\n"), ["text"], "utf-9")


def test_read_table_takes_paths(write, tmp_path, home):
    """A bare path and ``path:`` are the same file, relative to the base."""
    write("a.csv", "text,label\na,b\n")

    for source in ("a.csv", "path:a.csv"):
        assert read_table(source, base=tmp_path, home=home, columns=["label"]).to_pylist() == [{"label": "b"}]


def test_sides_have_many_names():
    """The common names of the three sides are known, whatever their case; others are not."""
    assert [side_of(name) for name in ("Train", "dev ", "validation", "VAL", "test", "unsupervised")] == [
        "train",
        "development",
        "development",
        "development",
        "test",
        None,
    ]


@pytest.fixture
def hub(monkeypatch):
    """Let the hub hold the given splits; returns what was asked of it."""
    datasets = pytest.importorskip("datasets")
    asked = []

    def _hold(**splits):
        held = datasets.DatasetDict({name: datasets.Dataset.from_dict(*given) for name, given in splits.items()})
        monkeypatch.setattr(datasets, "load_dataset", lambda name, **options: asked.append((name, options)) or held)
        return asked

    return _hold


def test_hub_splits_are_sides(hub, tmp_path, home):
    """Splits that are sides give every row its side; class numbers become names, -1 is no label, other splits are left."""
    from datasets import ClassLabel, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    rows = [{"text": ["a", "b"], "label": [1, 0]}, features]
    asked = hub(train=rows, validation=rows, test=[{"text": ["c"], "label": [-1]}, features], unsupervised=rows)

    table = read_table("hub:org/name@v1", base=tmp_path, home=home, columns=["text", "label"])

    assert table["label"].to_pylist() == ["yes", "no", "yes", "no", None]
    assert table[SIDE_COLUMN].to_pylist() == ["train", "train", "development", "development", "test"]
    assert asked == [("org/name", {"revision": "v1"})]


def test_one_hub_split_is_no_side(hub, tmp_path, home):
    """A data set with training rows alone is sided by hash like a table."""
    hub(train=[{"text": ["a", "b"], "label": [1, 0]}])

    table = read_table("hub:org/name", base=tmp_path, home=home, columns=["text", "label"])

    assert table.to_pylist() == [{"text": "a", "label": 1}, {"text": "b", "label": 0}]


def test_a_hub_that_cannot_be_reached_is_said(monkeypatch, tmp_path, home):
    """The error names the data set, its revision and the hub's answer."""
    datasets = pytest.importorskip("datasets")

    def refuse(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match=r"org/name at revision main could not be read from the hub: no route"):
        read_table("hub:org/name", base=tmp_path, home=home, columns=["text"])


def test_missing_hub_columns_are_said(hub, tmp_path, home):
    """As for files: the nearest names and all columns."""
    hub(train=[{"texts": ["a"], "label": [1]}])
    with pytest.raises(DataError, match=r"org/name has no column 'text'\. The nearest: 'texts'\."):
        read_table("hub:org/name", base=tmp_path, home=home, columns=["text"])


def test_gzip_is_told_by_the_ending(write):
    """A gzipped Parquet file is no table; Parquet compresses itself."""
    path = write("a.parquet.gz", "x")
    assert gzip.decompress(path.read_bytes()) == b"x"
    with pytest.raises(DataError, match="was given as a table"):
        read_file(path, ["text"])
