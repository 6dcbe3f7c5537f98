"""`tunewise new` writes a study that runs, `tunewise plan` says what it takes, and the run keeps what it was told."""

import csv
import json

import numpy as np
import pytest

from pipelines.estimated_run import WHOLE, Remaining, estimated
from pipelines.plan_table import print_plan
from tunewise.planning.contents import ClassRows, Download, Plan, PlannedFit
from tunewise.planning.costs import Cost
from tunewise.planning.kept import keep_estimate, note_end, read_estimate, seconds_besides
from tunewise.running import run
from tunewise.steps import Workplace
from tunewise.study_file import read_study
from tunewise.testing import tiny_encoder
from tunewise.toy_study import write_toy_study

COST = Cost(seconds=10.0, cpu_seconds=9.0, peak_bytes=1_000_000_000, disk_bytes=2_000_000, source="measured")


@pytest.fixture
def backbone(tmp_path):
    """The folder of a tiny encoder."""
    tiny_encoder(tmp_path / "tiny")
    return tmp_path / "tiny"


def planned(*fits, **changes):
    """Return a made-up plan of these fits."""
    given = {"steps": (), "downloads": (), "class_rows": None, "run_seconds": 5.0, "fits": tuple(fits)}
    return Plan(**{"study": "toy", "budget": "quick", "hardware": "a machine", **given, **changes})


def write_csv(path, head, rows, encoding="utf-8"):
    """Write a table."""
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file).writerows([head, *rows])


def labelled(classes, n):
    """Return rows of random words, one in three of their class."""
    rng = np.random.default_rng(0)
    words = [f"{one}{two}{three}" for one in "bdfgk" for two in "aeiou" for three in "lmnrs"]
    own = {label: f"own{i}" for i, label in enumerate(classes)}
    return [
        [" ".join(own[label] if i % 3 == 0 else str(rng.choice(words)) for i in range(12)), label]
        for label in classes
        for _ in range(n)
    ]


TABLES = {
    "two classes": (["text", "label"], labelled(["no", "yes"], 40)),
    "77 classes": (["utterance", "intent"], labelled([f"intent_{i:02}" for i in range(77)], 8)),
    "pairs": (["premise", "hypothesis", "gold"], [[text, text, label] for text, label in labelled("abc", 30)]),
    "ratings": (["review", "score"], [[text, f"{i / 7:.2f}"] for i, (text, _) in enumerate(labelled("ab", 60))]),
    "odd labels": (["text", "class"], labelled(["NA", "01", "None"], 30)),
    "odd names": (['the "text": it', "class, or: so"], labelled(["yes", "no"], 40)),
    "sides": (
        ["text", "label", "split"],
        [[*row, ["train", "dev", "test", "train"][i % 4]] for i, row in enumerate(labelled("ab", 60))],
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_new_study_is_right_and_runs(name, tunewise_apart, backbone, tmp_path, monkeypatch):
    """From any table to the comparison without a word in between: new, check, run as a notebook does."""
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "mine.csv", *TABLES[name])
    decided = ["--text", TABLES[name][0][0], "--label", TABLES[name][0][1]] if name == "odd names" else []
    code, said, _ = tunewise_apart("new", "mine.csv", "--backbone", f"path:{backbone}", *decided)

    assert code == 0
    assert said.endswith("Next: tunewise plan mine.yaml\n")
    assert tunewise_apart("check", "mine.yaml")[:2] == (0, "1 study is right.\n")
    verdict = run("mine.yaml", only=["majority", "tfidf_logistic"])
    assert [one.variant for one in verdict.standings if one.variant != "majority"] == ["tfidf_logistic"]


def test_given_tables_in_latin_1_run(tunewise_apart, ready_home, backbone, tmp_path, monkeypatch):
    """The tables beside the first are read in the encoding that was said."""
    monkeypatch.chdir(tmp_path)
    rows = labelled(["für", "wider"], 30)
    for side in ("train", "dev", "test"):
        write_csv(
            tmp_path / f"notes_{side}.csv", ["text", "label"], [[f"{text} {side}", label] for text, label in rows], "latin-1"
        )
    code, said, _ = tunewise_apart("new", "notes_train.csv", "--backbone", f"path:{backbone}", "--encoding", "latin-1")

    assert code == 0
    assert "Wrote notes.yaml" in said
    assert tunewise_apart("run", "notes.yaml", "--only", "majority")[0] == 0
    numbers = json.loads((ready_home.study("notes") / "comparison" / "comparison.json").read_text())
    assert numbers["classes"] == ["für", "wider"]
    assert numbers["n_test_texts"] == 60


def test_what_cannot_be_decided_ends_the_command_with_the_remedy(tunewise_apart, tmp_path, monkeypatch):
    """One line, no file, exit code 1; a name that is no study file's is refused before anything is read."""
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "two.csv", ["left", "right", "label"], [[a, a[::-1], b] for a, b in labelled("ab", 20)])
    code, _, err = tunewise_apart("new", "two.csv")

    assert code == 1
    assert "cannot be told which column holds the text" in err
    assert "--text COLUMN" in err
    assert not list(tmp_path.glob("*.yaml"))
    assert "a study file ends in .yaml" in tunewise_apart("new", "two.csv", "--out", "two.txt")[2]


def test_a_plan_is_printed_kept_and_compared(tunewise_apart, ready_home, studies):
    """The plan sums up, the run begins with its line and keeps it, the page sets it beside the fact."""
    write_toy_study(studies / "toy", ["majority", "tfidf_logistic"])
    code, said, _ = tunewise_apart("plan", "toy")
    assert code == 0
    assert "never fitted" in said
    assert "The quick budget fits on" in said
    assert "2 fits to do, 0 reused, about" in said.splitlines()[-1]

    code, _, err = tunewise_apart("run", "toy")
    assert code == 0
    assert "2 fits to do, 0 reused, about" in err
    page = (ready_home.study("toy") / "comparison" / "index.html").read_text()
    numbers = json.loads((ready_home.study("toy") / "comparison" / "comparison.json").read_text())
    assert "What the run was estimated to take, and took" in page
    assert [one["variant"] for one in numbers["estimates"]] == ["majority", "tfidf_logistic"]
    assert numbers["estimates"][1]["seconds"] > 0
    assert read_estimate("toy", ready_home)["took_seconds"] > 0

    code, said, _ = tunewise_apart("plan", "toy", "--json")
    told = json.loads(said)
    assert (told["total"]["n_to_run"], told["total"]["n_reused"]) == (0, 2)
    assert "fits to do" not in tunewise_apart("run", "toy")[2]
    assert len(read_estimate("toy", ready_home)["fits"]) == 2


def test_a_run_of_unknown_cost_says_and_keeps_nothing(tunewise_apart, ready_home, studies):
    """Nothing is measured for a run: without a plan it starts at once, and its page has no such table."""
    write_toy_study(studies / "toy", ["majority"])
    code, _, err = tunewise_apart("run", "toy")

    assert code == 0
    assert "to do" not in err
    assert read_estimate("toy", ready_home) is None
    assert "estimated to take" not in (ready_home.study("toy") / "comparison" / "index.html").read_text()


def test_classes_with_few_rows_are_warned_of(capsys):
    """Many classes are summed up, the smallest and the largest named; those with next to nothing are listed."""
    rows = ClassRows(1_024, 9_003, {f"intent_{i}": 20 - i for i in range(15)})
    print_plan(planned(PlannedFit("lora", 0, True, "run", "never fitted"), class_rows=rows))
    said = capsys.readouterr().out

    assert "The quick budget fits on 1,024 of 9,003 training rows: 15 classes, from 6 'intent_14' to 20 'intent_0'." in said
    assert "Warning: 4 classes have fewer than 10 of these rows: 'intent_11' (9), 'intent_12' (8)" in said


def test_downloads_and_seeds_of_different_fates_are_told(capsys, monkeypatch):
    """What has to come first with its size; one line for the seeds that share a fate."""
    monkeypatch.setenv("COLUMNS", "160")
    fits = [PlannedFit("lora", seed, True, "reuse" if seed == 1 else "run", "", f"key{seed}", COST) for seed in range(3)]
    print_plan(planned(*fits, downloads=(Download("backbone minilm", "archive:minilm", 83_506_384),)))
    said = capsys.readouterr().out

    assert "To be downloaded first: backbone minilm, archive:minilm (about 83.5 MB)." in said
    assert "0, 2" in said
    assert "2 × 10.0 s" in said
    assert "2 fits to do, 1 reused, about 25.0 s, peak 1.0 GB, 4.0 MB on disk." in said


def test_the_time_left_goes_down_with_seeds_and_steps():
    """Of three fits of 10 s and 5 s of the run's own: one seed and half of the next are 15 s of 35."""
    told = []
    fits = [PlannedFit("lora", seed, True, "run", "", f"key{seed}", COST) for seed in (0, 1)]
    remaining = Remaining(
        lambda stage, done, total: told.append((stage, done, total)),
        planned(PlannedFit("knn", 0, False, "reuse", ""), *fits, PlannedFit("head_only", 0, True, "run", "", "other", COST)),
    )
    remaining("lora: seeds", 0, 2)
    remaining("training", 3, 30)
    remaining("lora: seeds", 1, 2)
    remaining("training", 15, 30)
    remaining("embedding", 1, 2)
    remaining.close()

    assert [one for one in told if one[0] == WHOLE] == [
        (WHOLE, 0, 35),
        (WHOLE, 1, 35),
        (WHOLE, 10, 35),
        (WHOLE, 15, 35),
        (WHOLE, 35, 35),
    ]
    assert ("embedding", 1, 2) in told


def test_a_wrong_study_is_left_to_the_run(home, tmp_path):
    """The estimate never stands in a run's way: an error of the plan is the run's to tell."""
    path = write_toy_study(tmp_path / "toy")
    place = Workplace(read_study(path), path.parent, home)
    (path.parent / "texts.csv").unlink()
    with estimated(place, ()) as progress:
        assert progress is place.progress


def test_a_run_teaches_what_runs_take_besides(home):
    """The seconds beyond fits and features are learned once every fit has an outcome; one that failed teaches nothing."""
    plan = planned(PlannedFit("lora", 0, True, "run", "", "key", COST))
    keep_estimate(plan, home)
    before = seconds_besides(home, has_fits=True)
    note_end(plan, 60.0, home)

    assert read_estimate("toy", home)["took_seconds"] == 60.0
    assert seconds_besides(home, has_fits=True) == before
    note_end(planned(), 7.0, home)
    assert seconds_besides(home, has_fits=False) == 7.0
