"""Building, storing and reading data sets."""

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunewise.data.dataset import read_dataset, write_dataset
from tunewise.errors import ArtifactError, DataError


def test_rows_without_text_or_label_are_left_out_and_counted(write, build):
    """Blank texts and labels are missing; ``NA`` and ``None`` are not."""
    write("a.csv", "text,label\nNA,NA\nNone,01\n,x\n  ,y\nhello,\nhi,NA\n")
    dataset = build(source="a.csv")

    assert dataset.texts == ("NA", "None", "hi")
    assert dataset.classes == ("01", "NA")
    assert dataset.labels.tolist() == [1, 0, 1]
    assert dataset.n_left_out == {"no text": 2, "no label": 1}
    assert (dataset.sides, dataset.licence, len(dataset)) == (None, "unknown", 3)


def test_ids_are_the_hash_of_the_text(write, build):
    """The first 64 bits, with the count of the copy behind; appending rows changes none."""
    write("a.csv", "text,label\nsame,a\nother,b\nsame,b\nsame,a\n")
    name = hashlib.sha256(b"same").hexdigest()[:16]

    assert build(source="a.csv").ids == (name, hashlib.sha256(b"other").hexdigest()[:16], f"{name}-2", f"{name}-3")


def test_given_ids_are_kept(write, build):
    """Numbers become text."""
    write("a.jsonl", [{"text": "x", "label": "a", "n": 7}, {"text": "x", "label": "b", "n": 8}])

    assert build(source="a.jsonl", id="n").ids == ("7", "8")


@pytest.mark.parametrize(
    ("ids", "message"), [("7,8,7", r"'n' was named as id and holds '7' 2 times"), ("7,,8", r"holds nothing in 1 rows")]
)
def test_ids_must_be_unique(write, build, ids, message):
    """The error shows the first id that stands twice and how to do without."""
    rows = zip("xyz", "aba", ids.split(","), strict=True)
    write("a.csv", "text,label,n\n" + "".join(f"{','.join(row)}\n" for row in rows))

    with pytest.raises(DataError, match=rf"{message}.*leave `id` out"):
        build(source="a.csv", id="n")


def test_pairs(write, build, tmp_path):
    """Two columns are one text; a pair with half missing is left out."""
    write("a.csv", "one,two,label\na,b,x\na,,x\nab,c,y\na,bc,y\n")
    dataset = build(source="a.csv", text=("one", "two"))

    assert dataset.texts == (("a", "b"), ("ab", "c"), ("a", "bc"))
    assert len(set(dataset.ids)) == 3
    assert not any("-" in name for name in dataset.ids)
    assert dataset.n_left_out == {"no text": 1}


def test_ratings(write, build):
    """Classes are the bands in their order; what lies between is left out and counted."""
    write("a.csv", "text,rating\na,5\nb,1\nc,3\nd,nan\ne,\n")
    dataset = build(source="a.csv", ratings={"bands": {"good": {"at_least": 4}, "bad": {"at_most": 2}}})

    assert dataset.classes == ("good", "bad")
    assert dataset.labels.tolist() == [0, 1]
    assert dataset.n_left_out == {"no label": 2, "rating in no band": 1}


def test_sides_of_a_column(write, build):
    """Their many names are one."""
    write("a.csv", "text,label,where\na,x,Train\nb,y,val\nc,x,test\n")

    assert build(source="a.csv", split={"column": "where"}).sides == ("train", "development", "test")


def test_unknown_sides_are_refused(write, build):
    """The error shows what stands there and what may."""
    write("a.csv", "text,label,where\na,x,train\nb,y,holdout\nc,x,\n")

    with pytest.raises(DataError, match=r"'where' says which side a row is on and holds '', 'holdout'\. It may hold train"):
        build(source="a.csv", split={"column": "where"})


def test_tables_of_their_own(write, build):
    """The first table is for training; a missing side is left to the split."""
    write("a.csv", "text,label\na,x\nb,y\n")
    write("b.tsv", "text\tlabel\na\tx\n")
    dataset = build(source="a.csv", split={"test": "path:b.tsv"})

    assert dataset.sides == ("train", "train", "test")
    assert dataset.ids[2] == f"{dataset.ids[0]}-2"


def test_two_kinds_of_label_in_two_tables_are_refused(write, build):
    """``1`` and ``"1"`` may be one class or two."""
    write("a.csv", "text,label\na,1\nb,0\n")
    write("b.jsonl", [{"text": "a", "label": 1}])

    with pytest.raises(DataError, match="mixes int"):
        build(source="a.csv", split={"test": "path:b.jsonl"})


def test_sides_given_twice_are_refused(write, build):
    """A column and a table contradict each other."""
    write("a.csv", "text,label,where\na,1,train\n")

    with pytest.raises(DataError, match=r"given twice: by the column 'where' and by a table of its own for test\. Remove one"):
        build(source="a.csv", split={"test": "path:b.csv", "column": "where"})


def test_sides_of_the_hub_and_tables_of_their_own_are_refused(write, build, monkeypatch):
    """A hub data set that has sides leaves none to a table."""
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict({"train": rows, "test": rows}))
    write("b.jsonl", BASE)

    assert build(source="hub:org/name").sides == ("train", "train", "test", "test")
    with pytest.raises(DataError, match=r"given twice: by the splits of hub:org/name and by tables of their own"):
        build(source="hub:org/name", split={"test": "path:b.jsonl"})
    with pytest.raises(DataError, match=r"given twice: by the splits of hub:org/other"):
        build(source="b.jsonl", split={"test": "hub:org/other"})


def test_texts_must_be_text(tmp_path, build):
    """Numbers are no text."""
    pq.write_table(pa.table({"text": [1, 2], "label": ["a", "b"]}), tmp_path / "a.parquet")

    with pytest.raises(DataError, match=r"'text' holds int, such as 1\. Name a column of text"):
        build(source="a.parquet")


BASE = [{"text": "a", "label": 1}, {"text": "b", "label": 0}]


@pytest.mark.parametrize(
    "rows",
    [
        [{"text": "a", "label": "1"}, {"text": "b", "label": "0"}],
        [{"text": "a", "label": True}, {"text": "b", "label": False}],
        [{"text": "a", "label": 0}, {"text": "b", "label": 1}],
        [{"text": "a ", "label": 1}, {"text": "b", "label": 0}],
        BASE[::-1],
        [*BASE, {"text": "c", "label": 0}],
    ],
)
def test_fingerprints_differ_where_data_does(write, build, rows):
    """A label's kind, its value, a blank, the order and another row are differences; reading twice is none."""
    write("a.jsonl", BASE)
    write("b.jsonl", rows)

    assert build(source="a.jsonl").fingerprint == build(source="a.jsonl").fingerprint != build(source="b.jsonl").fingerprint


@pytest.mark.parametrize("labels", [["NA", "01"], [True, False], [3, -1]])
@pytest.mark.parametrize("is_sided", [True, False])
@pytest.mark.parametrize("text", ["text", ("text", "other")])
def test_a_stored_data_set_is_the_same(write, build, tmp_path, labels, is_sided, text):
    """Every field survives, the kind of the labels included, and no file but Parquet and JSON is written."""
    rows = [
        {"text": f"é\n{i}", "other": "NA", "label": label, "side": side}
        for i, (label, side) in enumerate(zip(labels, ["train", "test"], strict=True))
    ]
    write("a.jsonl", [*rows, {"text": "", "side": "train"}])
    dataset = build(source="a.jsonl", text=text, licence="MIT", split={"column": "side"} if is_sided else {})
    folder = tmp_path / "stored"
    folder.mkdir()

    write_dataset(dataset, folder)
    again = read_dataset(folder)

    assert {file.name for file in folder.iterdir()} == {"rows.parquet", "dataset.json"}
    assert again.labels.tolist() == dataset.labels.tolist()
    for name in ("ids", "texts", "classes", "sides", "licence", "fingerprint", "n_left_out"):
        assert repr(getattr(again, name)) == repr(getattr(dataset, name))


def test_a_damaged_folder_is_said(tmp_path):
    """The error says that the folder can be deleted."""
    with pytest.raises(ArtifactError, match=r"rows\.parquet cannot be read: .*Delete .*; it will be made again"):
        read_dataset(tmp_path)
    (tmp_path / "rows.parquet").write_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"rows\.parquet cannot be read"):
        read_dataset(tmp_path)


def test_facts_are_plain_json(write, build, tmp_path):
    """Classes stand there as the user wrote them."""
    write("a.jsonl", BASE)
    write_dataset(build(source="a.jsonl"), tmp_path)

    assert json.loads((tmp_path / "dataset.json").read_text())["classes"] == [0, 1]
