"""A study file for any table that can be read: what can be seen is not asked, what cannot is an error with a remedy."""

import csv
import json

import numpy as np
import pytest
import yaml

from tunewise.errors import DataError, SourceError, StudyError
from tunewise.new_study import Asked, choose, look, write_new
from tunewise.study_file import check_study, read_study

FILLERS = [f"{one}{two}{three}" for one in "bdfgk" for two in "aeiou" for three in "lmnrs"]


def texts(label, n, seed=0):
    """Return texts that hold words of their class."""
    rng = np.random.default_rng([seed, *str(label).encode()])
    own = [f"{chr(97 + byte % 26)}word{byte}" for byte in str(label).encode()]
    return [" ".join(rng.choice(own if i % 3 == 0 else FILLERS) for i in range(12)) for _ in range(n)]


def rows_of(classes, n=30):
    """Return rows of text and class."""
    return [[text, label] for label in classes for text in texts(label, n)]


def write_csv(path, head, rows, encoding="utf-8"):
    """Write a table as a spreadsheet does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file).writerows([head, *rows])
    return path


@pytest.fixture
def new(tmp_path):
    """Return the function from a path to the study that is written for it, checked, and the file's text."""

    def write(path, taken=(), encoding=None, **asked):
        looked = look(str(path), tmp_path, encoding=encoding)
        file = tmp_path / "new.yaml"
        file.unlink(missing_ok=True)
        write_new(looked, choose(looked, Asked(**asked), taken), file)
        assert check_study(file) == []
        return read_study(file), file.read_text()

    return write


def test_two_classes_of_equal_size(new, tmp_path):
    """Columns, name and sizes are seen; the comments hold the evidence."""
    study, text = new(write_csv(tmp_path / "Support tickets.csv", ["text", "label"], rows_of(["no", "yes"])))

    assert (study.name, study.data.text, study.data.label) == ("support_tickets", "text", "label")
    assert (study.metric, study.class_weights, study.budget) == ("accuracy", "none", "quick")
    assert study.data.source == "Support tickets.csv"
    assert "# 2 values in 60 rows: 'no' 30, 'yes' 30." in text


def test_77_classes_take_all_rows(new, tmp_path):
    """The quick budget would leave a dozen rows a class, so the standard one is named, with the reason."""
    rows = rows_of([f"intent_{i:02}" for i in range(77)], 16)
    study, text = new(write_csv(tmp_path / "bank.csv", ["utterance", "intent"], rows))

    assert (study.data.text, study.data.label, study.budget) == ("utterance", "intent", "standard")
    assert "13 a class" in text
    assert "77 values in 1,232 rows" in text


@pytest.mark.parametrize("names", [("premise", "hypothesis"), ("question", "sentence"), ("Text A", "text_b")])
def test_pairs_are_known_by_their_names(names, new, tmp_path):
    """Two columns become a pair in their right order."""
    rows = [[one, other, label] for label in "abc" for one, other in zip(texts(label, 20), texts(label, 20, 1), strict=True)]
    study, _ = new(write_csv(tmp_path / "pairs.csv", [*names, "gold_label"], rows))

    assert study.data.text == names
    assert study.data.label == "gold_label"


def test_ratings_become_bands_of_numbers_the_user_can_move(new, tmp_path):
    """The outer thirds, both with rows, and a comment that says so."""
    rng = np.random.default_rng(0)
    rows = [[text, f"{rng.normal(0, 2):.3f}"] for text in texts("x", 200)]
    study, text = new(write_csv(tmp_path / "rated.csv", ["review", "score"], rows))
    bands = study.data.ratings.bands

    assert study.data.label is None
    assert study.data.ratings.column == "score"
    assert bands["low"].at_most < 0 < bands["high"].at_least
    assert "The lowest and the highest third: 67 and 67 rows" in text


def test_stars_are_classes(new, tmp_path):
    """Five whole numbers called rating are classes, not measurements."""
    study, _ = new(write_csv(tmp_path / "stars.csv", ["review", "rating"], rows_of(["1", "2", "3", "4", "5"])))

    assert (study.data.label, study.data.ratings) == ("rating", None)


def test_given_splits_beside_the_table_are_taken(new, tmp_path):
    """Train with dev and test beside it; the folder gives the name; development rows are not drawn again."""
    for name in ("train", "validation", "test"):
        write_csv(tmp_path / "trec" / f"{name}.csv", ["text", "label"], rows_of(["a", "b"], 20))
    for given in (tmp_path / "trec", tmp_path / "trec" / "train.csv"):
        study, text = new(given)

        assert study.name == "trec"
        assert (study.data.split.development, study.data.split.test) == ("trec/validation.csv", "trec/test.csv")
        assert "Beside the table, and what the names say: test.csv, validation.csv." in text


def test_a_test_table_alone_leaves_development_rows_to_be_drawn(new, tmp_path):
    """Only what is there is taken; names may have more than the side in them."""
    for name in ("mails-train", "mails-test", "other-test"):
        write_csv(tmp_path / f"{name}.csv", ["text", "label"], rows_of(["a", "b"], 20))
    study, _ = new(tmp_path / "mails-train.csv")

    assert study.name == "mails"
    assert (study.data.split.development, study.data.split.test) == (0.1, "mails-test.csv")


def test_a_column_of_sides_is_taken(new, tmp_path):
    """Values that all mean sides make it one; shares are then not drawn."""
    rows = [[*row, side] for row, side in zip(rows_of(["a", "b"]), ["train", "val", "test"] * 20, strict=True)]
    study, text = new(write_csv(tmp_path / "sided.csv", ["text", "label", "split"], rows))

    assert study.data.split.column == "split"
    assert "20 train, 20 development, 20 test" in text


def test_odd_labels_stay_what_they_are(new, tmp_path):
    """``NA``, ``None`` and ``01`` are classes like any other."""
    study, text = new(write_csv(tmp_path / "odd.csv", ["text", "class"], rows_of(["NA", "01", "None"])))

    assert study.data.label == "class"
    assert "'NA' 30, '01' 30, 'None' 30" in text


def test_an_encoding_is_noted_and_written(new, tmp_path):
    """What the reader takes Latin-1 for is written down with its note; what was declared is written, too."""
    rows = [[f"{text} Müller hörte die schöne Größe der Straße für Öl", label] for text, label in rows_of(["für", "wider"])]
    path = write_csv(tmp_path / "latin.csv", ["text", "label"], rows, "latin-1")
    study, text = new(path)
    declared, _ = new(path, encoding="latin-1")

    assert (study.data.encoding, declared.data.encoding) == ("cp1252", "latin-1")
    assert "is not UTF-8" in text
    assert "'für' 30" in text


def test_an_encoding_that_is_not_plain_is_asked_for(new, tmp_path):
    """The reader's refusal comes with the option that answers it."""
    path = tmp_path / "odd.csv"
    path.write_bytes("text,label\na,b\n".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"zero bytes.*--encoding NAME"):
        new(path)


@pytest.mark.parametrize(
    "names",
    [
        ('a "quoted" text', "what's: the, label"),
        ("# text", "- label"),
        ("text: with\nbreak", "yes"),
        ("{text}", "[label]"),
        ("\u202etext", "label\u2028x"),
        ("null", "1.0"),
    ],
)
def test_names_that_yaml_would_misread_come_back_as_they_are(names, new, tmp_path):
    """Quotes, colons, comments, line breaks and words that mean something else are quoted."""
    rows = rows_of(["a # b", "c: {d}", "e\nf"])
    study, text = new(write_csv(tmp_path / "odd: name.csv", names, rows), text=names[:1], label=names[1])

    assert (study.data.text, study.data.label) == names
    assert study.data.source == "path:odd: name.csv"
    assert "\u202e" not in "".join(line for line in text.splitlines() if line.lstrip().startswith("#"))


def test_what_looks_like_a_template_is_refused(new, tmp_path):
    """Studies have no templates, so a column called like one has to be renamed."""
    with pytest.raises(StudyError, match="Rename the column"):
        new(write_csv(tmp_path / "t.csv", ["{{ text }}", "label"], rows_of(["a", "b"])))


def test_imbalance_changes_metric_and_weights(new, tmp_path):
    """Three times as many rows ask for macro-F1, ten times for weights, each with its reason."""
    mild = write_csv(tmp_path / "mild.csv", ["text", "label"], [*rows_of(["a"], 90), *rows_of(["b"], 30)])
    strong = write_csv(tmp_path / "strong.csv", ["text", "label"], [*rows_of(["a"], 300), *rows_of(["b"], 20)])
    one, _ = new(mild)
    other, text = new(strong)

    assert (one.metric, one.class_weights) == ("macro_f1", "none")
    assert (other.metric, other.class_weights) == ("macro_f1", "balanced")
    assert "The largest class has 300 rows, the smallest 20" in text


def test_an_id_is_one_only_where_it_is_unique(new, tmp_path):
    """In all tables together; otherwise rows are known by their text, which a comment says."""
    rows = [[i, *row] for i, row in enumerate(rows_of(["a", "b"]))]
    write_csv(tmp_path / "ids" / "train.csv", ["id", "text", "label"], rows)
    assert new(tmp_path / "ids")[0].data.id == "id"
    write_csv(tmp_path / "ids" / "test.csv", ["id", "text", "label"], rows[:20])
    study, text = new(tmp_path / "ids")

    assert study.data.id is None
    assert "'id' repeats or lacks 20 values" in text


def test_json_lines_and_parquet_are_looked_at_alike(new, tmp_path):
    """Labels of other kinds than text are kept in their kind by the reader; columns of lists are left alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = [{"body": text, "topic": label == "b", "tags": ["x"]} for text, label in rows_of(["a", "b"])]
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "stored.parquet")
    for name in ("notes.jsonl", "stored.parquet"):
        study, text = new(tmp_path / name)

        assert (study.data.text, study.data.label) == ("body", "topic")
        assert "2 values in 60 rows: False 30, True 30." in text


def test_two_texts_that_cannot_be_told_apart_are_an_error_with_the_remedy(new, tmp_path):
    """The candidates are named with their lengths; the option decides."""
    rows = [[text, text[::-1], label] for text, label in rows_of(["a", "b"])]
    path = write_csv(tmp_path / "two.csv", ["left", "right", "label"], rows)
    with pytest.raises(DataError, match=r"which column holds the text\. Candidates: 'left' \(.*'right' \(.*--text COLUMN"):
        new(path)

    assert new(path, text=("right",))[0].data.text == "right"
    assert new(path, text=("left", "right"))[0].data.text == ("left", "right")


def test_two_labels_that_cannot_be_told_apart_are_an_error_with_the_remedy(new, tmp_path):
    """A column called label wins; without one the user says which."""
    rows = [[*row, i % 3] for i, row in enumerate(rows_of(["a", "b"]))]
    path = write_csv(tmp_path / "two.csv", ["text", "first", "second"], rows)
    with pytest.raises(DataError, match=r"holds the classes\. Candidates: 'first' \(2 values\), 'second' \(3 values\)"):
        new(path)

    assert new(path, label="second")[0].data.label == "second"
    named, text = new(write_csv(tmp_path / "named.csv", ["text", "label", "fine_label"], rows))
    assert named.data.label == "label"
    assert "It could also be 'fine_label' (3 values)." in text


def test_a_file_is_never_overwritten(tmp_path):
    """What stands there stays, and the error says how to go on."""
    path = write_csv(tmp_path / "texts.csv", ["text", "label"], rows_of(["a", "b"]))
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\n")
    looked = look(str(path), tmp_path)
    with pytest.raises(StudyError, match=r"is there already and was left as it is\. Name another with --out FILE"):
        write_new(looked, choose(looked, Asked()), file)

    assert file.read_text() == "name: mine\n"


def test_names_that_are_taken_are_counted_on(new, tmp_path):
    """Two studies of one name would share a folder."""
    path = write_csv(tmp_path / "texts.csv", ["text", "label"], rows_of(["a", "b"]))

    assert new(path, taken={"texts", "texts_2"})[0].name == "texts_3"
    assert new(write_csv(tmp_path / "2024.csv", ["text", "label"], rows_of(["a", "b"])))[0].name == "study_2024"


def test_a_path_that_leads_nowhere_and_a_folder_of_many_are_refused(tmp_path):
    """Both say what to give instead."""
    with pytest.raises(SourceError, match="There is no"):
        look("nothing.csv", tmp_path)
    for name in ("one", "two"):
        write_csv(tmp_path / "many" / f"{name}.csv", ["text", "label"], rows_of(["a", "b"], 5))
    with pytest.raises(DataError, match=r"one\.csv, two\.csv\)\. Name the one with the training rows"):
        look("many", tmp_path)


def test_tables_without_a_header_are_told_so(new, tmp_path):
    """Their first row would otherwise give the names, and no study could be written."""
    long = "a text that goes on and on, as texts do and names do not, until nobody takes it for a name any more"
    with pytest.raises(DataError, match=r"one\.csv: the first line of one\.csv reads like a row.*Add one"):
        new(write_csv(tmp_path / "one.csv", [long, "pos"], rows_of(["pos", "neg"])))
    for name in ("train", "test"):
        write_csv(tmp_path / "bare" / f"{name}.csv", [f"text of {name}", f"{name} label"], rows_of(["a", "b"]))
    with pytest.raises(DataError, match=r"train\.csv, test\.csv: their first lines share no name"):
        new(tmp_path / "bare")


def test_a_backbone_of_ones_own_is_named_after_its_folder(new, tmp_path):
    """A folder from where the command is given, a path from the study's folder in the file."""
    (tmp_path / "My-Model").mkdir()
    path = write_csv(tmp_path / "texts.csv", ["text", "label"], rows_of(["a", "b"]))
    study, text = new(path, backbone=f"path:{tmp_path / 'My-Model'}")

    assert [(spec.name, spec.source) for spec in study.backbones] == [("my_model", "My-Model")]
    assert yaml.safe_load(text)["backbones"] == [{"name": "my_model", "source": "My-Model"}]
