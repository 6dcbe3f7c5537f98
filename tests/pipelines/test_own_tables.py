"""A user's own table to the page: a study of a few lines beside it, outside any checkout."""

import csv
import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest

from pipelines.in_process import run_study
from tunewise.contracts import no_progress
from tunewise.study_file import COMPONENT, read_study
from tunewise.testing import tiny_encoder

VARIANTS = ["majority", "tfidf_logistic", "logistic_regression"]
STUDY = """\
type: {component}
attributes:
  name: {name}
  data: {data}
  backbones: [{{name: tiny, source: "path:{backbone}"}}]
  variants: [majority, tfidf_logistic, logistic_regression]
  seeds: [0]
  compute: {{cpus: 1}}
"""


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    """The folder of a tiny encoder."""
    folder = tmp_path_factory.mktemp("backbone") / "tiny"
    tiny_encoder(folder)
    return folder


@pytest.fixture
def run_table(ready_home, tmp_path, backbone):
    """Return the function that runs a study of a table to its page, and returns its numbers and the page."""

    def run(data, name="mine"):
        path = tmp_path / name / "defs.yaml"
        path.parent.mkdir(exist_ok=True)
        text = STUDY.format(component=COMPONENT, name=name, data=json.dumps(data), backbone=backbone)
        assert len(text.splitlines()) <= 10
        path.write_text(text)
        done = run_study(read_study(path), path.parent, ready_home, only=(), progress=no_progress)
        assert (done.failures, done.has_comparison) == ((), True)
        folder = ready_home.study(name) / "comparison"
        return json.loads((folder / "comparison.json").read_text()), (folder / "index.html").read_text()

    return run


@pytest.fixture
def spoken(monkeypatch):
    """The addresses beyond this machine that anything asked for; each is refused."""
    asked, loopback = [], {"127.0.0.1", "::1", "localhost", None, socket.gethostname()}
    connect, find = socket.socket.connect, socket.getaddrinfo

    def refuse(self, address, *rest):
        if self.family in {socket.AF_INET, socket.AF_INET6} and address[0] not in loopback:
            asked.append(address)
            raise OSError(f"a test forbids {address}")
        return connect(self, address, *rest)

    def look_up(host, *rest, **named):
        if host not in loopback:
            asked.append(host)
            raise OSError(f"a test forbids {host}")
        return find(host, *rest, **named)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def texts_of(label, n, seed=0):
    """Return texts of random words of which one in three belongs to the class alone."""
    rng = np.random.default_rng([seed, *str(label).encode()])
    own = [f"{chr(97 + ord(sign) % 26)}word" + str(ord(sign)) for sign in str(label)]
    words = [f"{first}{second}{third}" for first in "bdfgk" for second in "aeiou" for third in "lmnrs"]
    return [" ".join(rng.choice(own if i % 3 == 0 else words) for i in range(12)) for _ in range(n)]


def write_csv(path, head, rows):
    """Write a table as a spreadsheet does."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    return str(path)


def shown_classes(page):
    """Return the classes that the page's pictures name."""
    payload = page.partition('id="payload"')[2].partition(">")[2].partition("</script>")[0]
    return json.loads(payload)["classes"]


def assert_complete(numbers, page, classes):
    """Compare classes, rows and scores of JSON and page with what the table holds."""
    assert numbers["classes"] == classes
    assert shown_classes(page) == [str(label) for label in classes]
    assert {one["variant"] for one in numbers["variants"]} == set(VARIANTS)
    assert numbers["missing"] == []
    for one in numbers["variants"]:
        assert one["variant"] in page.replace("<wbr>", "")
        assert 0 <= one["test"]["accuracy"]["value"] <= 1
        assert sum(times for _, _, times in one["confusion"]) == numbers["n_test_texts"] > 0


def accuracy(numbers, variant):
    """Return a variant's accuracy on the test rows."""
    return next(one["test"]["accuracy"]["value"] for one in numbers["variants"] if one["variant"] == variant)


def test_a_csv_with_six_classes(run_table, tmp_path):
    """All are named, and reading the texts beats the largest class."""
    classes = ["anger", "fear", "joy", "love", "sadness", "surprise"]
    rows = [(text, label) for label in classes for text in texts_of(label, 30)]
    numbers, page = run_table({"source": write_csv(tmp_path / "texts.csv", ["text", "label"], rows)})

    assert_complete(numbers, page, classes)
    assert accuracy(numbers, "tfidf_logistic") > accuracy(numbers, "majority") + 0.2


def test_a_csv_with_77_classes_some_of_them_never_in_training(run_table, tmp_path):
    """Four rows a class leave some without a training row: that is a warning, and every class is named."""
    classes = [f"intent_{i:02}" for i in range(77)]
    rows = [(text, label) for label in classes for text in texts_of(label, 3)]
    numbers, page = run_table({"source": write_csv(tmp_path / "texts.csv", ["text", "label"], rows)})
    found = {finding["name"]: finding for finding in numbers["audit"]}["classes_in_training"]

    assert_complete(numbers, page, classes)
    assert (found["passed"], found["is_blocking"]) == (False, False)
    assert "of 77 with training rows. None for 'intent_" in found["message"]


def test_a_csv_with_sentence_pairs(run_table, tmp_path):
    """Two columns are judged as one text; columns that were not named are left alone."""
    classes = ["contradiction", "entailment", "neutral"]
    rows = [
        (one, other, label, "x")
        for label in classes
        for one, other in zip(texts_of(label, 30), texts_of(label, 30, 1), strict=True)
    ]
    source = write_csv(tmp_path / "pairs.csv", ["premise", "hypothesis", "gold", "note"], rows)
    numbers, page = run_table({"source": source, "text": ["premise", "hypothesis"], "label": "gold"})

    assert_complete(numbers, page, classes)


def test_labels_that_look_like_something_else(run_table, tmp_path):
    """``NA`` and ``None`` are no missing values and ``01`` is no number."""
    classes = ["01", "NA", "None"]
    rows = [(text, label) for label in classes for text in texts_of(label, 30)]
    numbers, page = run_table({"source": write_csv(tmp_path / "texts.csv", ["text", "label"], rows)})

    assert_complete(numbers, page, classes)
    assert {finding["name"]: finding for finding in numbers["audit"]}["missing_values"]["passed"]


def test_json_lines_with_boolean_labels(run_table, tmp_path):
    """False and true stay booleans in the numbers and are named on the page."""
    rows = [{"text": text, "label": label} for label in (False, True) for text in texts_of(label, 40)]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    numbers, page = run_table({"source": str(path)})

    assert_complete(numbers, page, [False, True])
    assert all(type(label) is bool for label in numbers["classes"])


def test_a_study_with_warm_caches_speaks_to_nobody(run_table, ready_home, tmp_path, spoken):
    """From the table to the page, features included, nothing beyond this machine is asked; features are not computed again."""
    rows = [(text, label) for label in ("no", "yes") for text in texts_of(label, 40)]
    source = write_csv(tmp_path / "texts.csv", ["text", "label"], rows)
    run_table({"source": source})
    before = features_in(ready_home)
    shutil.rmtree(ready_home.artifacts)
    numbers, page = run_table({"source": source})

    assert_complete(numbers, page, ["no", "yes"])
    assert spoken == []
    assert before
    assert features_in(ready_home) == before
    pointer = ready_home.study("mine") / "latest" / "logistic_regression" / "0.json"
    assert not json.loads(pointer.read_text())["is_reused"]


def features_in(home):
    """Return the files that hold features."""
    return {path for path in home.embeddings.rglob("*") if path.is_file()}


def test_a_public_table_that_was_never_prepared(run_table, request):
    """TREC's questions as they are distributed: six classes and a column that nobody asked for."""
    folder = request.config.getoption("--data")
    if folder is None:
        pytest.skip("give the folder that holds trec/train.csv with --data DIR")
    source = Path(folder).resolve() / "trec" / "train.csv"
    if not source.is_file():
        pytest.skip(f"{source} is not there")
    numbers, page = run_table({"source": str(source)})

    assert_complete(numbers, page, ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"])
    assert accuracy(numbers, "tfidf_logistic") > accuracy(numbers, "majority") + 0.2
