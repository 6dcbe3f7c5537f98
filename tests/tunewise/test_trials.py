"""Fitting once and keeping the outcome: reuse, refusal, what is scored and what is never seen."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from tunewise.claims import claimed
from tunewise.contracts import Device
from tunewise.errors import ArtifactError, BusyError, FitError
from tunewise.evaluation.outcomes import ARTEFACT, folder_of, read_outcome
from tunewise.methods import catalogue
from tunewise.request import Effort, Request
from tunewise.testing import tiny_encoder, toy_split
from tunewise.trials import run_variant

CPU = Device("cpu", "float32", 1)
EFFORT = Effort("quick", 100, 2)


def asked(name="tfidf_logistic", split=None, **settings):
    """Return a request of a method that needs no backbone."""
    method = catalogue()[name]
    return Request(method, method.settings(**settings), 0, split or toy_split(), None, CPU, EFFORT)


class Answers:
    """A predictor that answers what it is told."""

    n_trained_parameters = 0
    n_total_parameters = 0
    chosen: dict[str, float] = {}  # noqa: RUF012 - read, never changed

    def __init__(self, matrix):
        self.matrix = matrix

    def predict(self, texts):
        """Return one row per text."""
        return np.tile(self.matrix, (len(texts), 1)).astype(np.float32)

    def save(self, folder):
        """Write something."""
        (folder / "answers.json").write_text("[]")


def told(fitted, loaded=None):
    """Return a request whose fit answers ``fitted`` and whose reloaded artefact answers ``loaded``."""

    def fit(inputs, settings, *, rng):
        return Answers(np.array(fitted))

    def load(folder, runtime):
        return Answers(np.array(loaded or fitted))

    request = asked("majority")
    return replace(request, method=replace(request.method, fit=fit, load=load))


def test_a_second_request_is_reused(home):
    """The same key is read and not fitted, within a fraction of a second, and is equal to the first."""
    first, was_reused = run_variant(asked(), home=home)
    start = time.perf_counter()
    second, is_reused = run_variant(asked(), home=home)
    seconds = time.perf_counter() - start

    assert (was_reused, is_reused) == (False, True)
    assert seconds < 0.5
    assert first.costs == second.costs
    assert np.array_equal(first.test.answers.probabilities, second.test.answers.probabilities)


def test_reuse_loads_no_heavy_library(home):
    """Reading an outcome imports neither torch nor scikit-learn."""
    run_variant(asked(), home=home)
    script = (
        "import sys; from tests_request import asked; from tunewise.home import Home; from tunewise.trials import run_variant;"
        "print(run_variant(asked(), home=Home.default())[1], {'torch', 'transformers', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    (home.root / "tests_request.py").write_text(ASKED_ALONE)
    done = subprocess.run([sys.executable, "-c", script], cwd=home.root, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "True set()"


ASKED_ALONE = """
import json, pathlib
import numpy as np
from tunewise.contracts import Device, Part, Split
from tunewise.methods import catalogue
from tunewise.request import Effort, Request

def asked():
    method = catalogue()["tfidf_logistic"]
    empty = Part(("x",) * 144, ("x",) * 144, np.zeros(144, dtype=int))
    split = Split(("a", "b"), empty, empty, empty, FINGERPRINT)
    return Request(method, method.settings(), 0, split, None, Device("cpu", "float32", 1), Effort("quick", 100, 2))
""".replace("FINGERPRINT", json.dumps(toy_split().fingerprint))


def test_the_outcome_says_what_was_held(home):
    """Conditions, chosen settings, classes, rows and origin are in it, and the curve holds the choice of C."""
    outcome, _ = run_variant(asked(c=[0.1, 1.0]), home=home)

    assert outcome.conditions == {
        "budget": "quick",
        "n_train_rows": 100,
        "epochs": 2,
        "class_weights": "none",
        "metric": "accuracy",
    }
    assert outcome.chosen["c"] in (0.1, 1.0)
    assert outcome.settings_changed == {"c": [0.1, 1.0]}
    assert outcome.test.ids == toy_split().test.ids
    assert outcome.development.ids == toy_split().development.ids
    assert [step["c"] for step in outcome.curve] == [0.1, 1.0]
    assert outcome.provenance["determinants"]["split"] == toy_split().fingerprint
    assert {"hardware", "versions", "commit", "is_dirty", "data", "date"} <= set(outcome.provenance)


def test_only_the_rows_the_budget_pays_for_are_fitted(home):
    """A fit sees 100 training rows, all development rows, and nothing of the test rows."""
    seen = []

    def fit(inputs, settings, *, rng):
        seen.append(inputs)
        return Answers(np.array([0.4, 0.6]))

    request = told([0.4, 0.6])
    run_variant(replace(request, method=replace(request.method, fit=fit)), home=home)
    (inputs,) = seen
    texts = {*inputs.train.texts, *inputs.development.texts}

    assert len(inputs.train) == 100
    assert inputs.development.ids == toy_split().development.ids
    assert not texts & set(toy_split().test.texts)


def test_an_artefact_that_answers_otherwise_is_refused(home):
    """The error says how far it is off, and no outcome is left."""
    request = told([0.4, 0.6], loaded=[0.4 + 1e-6, 0.6])

    with pytest.raises(
        ArtifactError, match=r"The stored majority answers 48 of 48 development texts otherwise .* No outcome is kept"
    ):
        run_variant(request, home=home)
    assert not folder_of(request.key, home).exists()


@pytest.mark.parametrize("part", ["development", "test"])
def test_one_other_answer_among_all_is_refused(home, part):
    """Every text of both parts is compared, not a sample."""
    texts = getattr(toy_split(), part).texts
    odd = texts[37]

    class Odd(Answers):
        """Answers one text otherwise."""

        def predict(self, texts):
            answers = super().predict(texts)
            answers[[text == odd for text in texts]] += 1e-7
            return answers

    request = told([0.4, 0.6])
    method = replace(request.method, load=lambda *_: Odd(np.array([0.4, 0.6])))

    with pytest.raises(ArtifactError, match=rf"answers 1 of 48 {part} texts otherwise"):
        run_variant(replace(request, method=method), home=home)


def test_a_trunk_is_compared_where_it_was_timed(home, tmp_path):
    """Its answers to all test rows without a cache are those that were scored; one that differs is refused."""
    backbone = tiny_encoder(tmp_path)
    method = catalogue()["lora"]
    asked = Request(method, method.settings(min_steps=5), 0, toy_split(), backbone, CPU, EFFORT)
    run_variant(asked, home=home)

    def load(folder, runtime):
        loaded = method.load(folder, runtime)
        with torch.no_grad():
            loaded.classifier.head[-1].bias[0] += 1e-4
        return loaded

    with pytest.raises(ArtifactError, match=r"The stored lora answers \d+ of 48 test texts otherwise"):
        run_variant(replace(asked, seed=1, method=replace(method, load=load)), home=home)


def test_a_fit_that_diverged_is_refused(home):
    """NaN is an error that says what to do, never a score."""
    request = told([np.nan, 1.0])

    with pytest.raises(FitError, match=r"48 of 48 texts got probabilities that are no finite numbers.*Lower its learning rate"):
        run_variant(request, home=home)
    assert not folder_of(request.key, home).exists()


def test_an_interrupted_fit_finds_its_work_again(home):
    """Checkpoints outlive the interruption and are gone when the outcome is there."""
    request = told([0.4, 0.6])

    def interrupted(inputs, settings, *, rng):
        (inputs.work / "checkpoint").write_text("half")
        raise KeyboardInterrupt

    def resumed(inputs, settings, *, rng):
        assert (inputs.work / "checkpoint").read_text() == "half"
        return Answers(np.array([0.4, 0.6]))

    with pytest.raises(KeyboardInterrupt):
        run_variant(replace(request, method=replace(request.method, fit=interrupted)), home=home)
    run_variant(replace(request, method=replace(request.method, fit=resumed)), home=home)

    assert not (home.root / "work" / request.key).exists()


def cut(file):
    """Keep three bytes."""
    file.write_bytes(b"cut")


def flip(file):
    """Change a byte, which no name and no size tells."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("name", ["predictions.parquet", "outcome.json"])
def test_a_damaged_outcome_is_set_aside_and_made_again(home, caplog, damage, name):
    """A folder whose bytes are not what its manifest lists is no outcome; the log says where it went."""
    first, _ = run_variant(asked(), home=home)
    damage(folder_of(asked().key, home) / name)

    outcome, is_reused = run_variant(asked(), home=home)

    assert not is_reused
    assert np.array_equal(outcome.test.answers.probabilities, first.test.answers.probabilities)
    assert "It was set aside as" in caplog.text
    assert len(list(outcome.folder.parent.iterdir())) == 2


def test_who_does_not_wait_for_another_process_is_told(home):
    """The work is named, and nothing is fitted twice."""
    with claimed(asked().key, home), pytest.raises(BusyError, match="at work on tfidf_logistic, seed 0"):
        run_variant(asked(), home=home, waits=False)
    outcome, is_reused = run_variant(asked(), home=home, waits=False)

    assert not is_reused
    assert outcome.provenance["n_resumes"] == 0


def test_another_machine_s_checkpoints_are_not_gone_on_from(home, monkeypatch):
    """Bits and seconds would be of two machines, so each has a work folder of its own."""
    seen = []

    def interrupted(inputs, settings, *, rng):
        seen.append(inputs.work)
        raise KeyboardInterrupt

    request = replace(told([0.4, 0.6]), method=replace(told([0.4, 0.6]).method, fit=interrupted))
    for name in ("one machine", "one machine", "another"):
        monkeypatch.setattr("tunewise.trials.hardware", lambda name=name: name)
        with pytest.raises(KeyboardInterrupt):
            run_variant(request, home=home)

    assert seen[0] == seen[1] != seen[2]


def test_shuffled_labels_are_said_to_be_at_chance(home):
    """What learned from labels that no text tells is marked in words."""
    split = toy_split(n=600)
    rng = np.random.default_rng(1)
    shuffled = {name: replace(part, labels=rng.permutation(part.labels)) for name, part in split.parts()}

    outcome, _ = run_variant(asked(split=replace(split, fingerprint="shuffled", **shuffled)), home=home)

    assert len(outcome.marks) == 1
    assert outcome.marks[0].startswith("at chance: its test accuracy")


def test_the_majority_class_bears_no_mark(home):
    """Being at chance is what it is there for."""
    outcome, _ = run_variant(asked("majority"), home=home)

    assert outcome.marks == ()


def test_stored_bytes_are_the_artefact_s(home):
    """The artefact alone counts, not the predictions beside it."""
    outcome, _ = run_variant(asked(), home=home)
    folder = read_outcome(outcome.folder).folder / ARTEFACT

    assert outcome.costs.stored_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert outcome.costs.features_seconds == 0
