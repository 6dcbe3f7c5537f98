"""What every method of the catalogue promises, on a tiny backbone with random weights and a toy task.

A new method is tested here without an edit. Each is run as a study runs it, through `run_variant`, so its
outcome, its stored artefact and its reloaded predictor are looked at, not stand-ins for them.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tunewise.artifacts import sha256_of_file
from tunewise.contracts import Device, Need
from tunewise.evaluation.guards import CHANCE_LEVEL, chance_of
from tunewise.evaluation.outcomes import ARTEFACT
from tunewise.features import embedder_for
from tunewise.home import Home
from tunewise.methods import catalogue
from tunewise.request import Effort, Request
from tunewise.testing import tiny_decoder, tiny_encoder, toy_split
from tunewise.trials import run_variant

CPU = Device("cpu", "float32", 1)
EFFORT = Effort("toy", None, epochs=10)
"""Enough passes for a gradient method to learn 144 rows from random weights."""
SAFE_ENDINGS = {".json", ".safetensors", ".ubj", ".skops", ".txt", ".parquet"}
UNKNOWN = ["", "zzz", "Ünïcödé 日本語 🙂", "word " * 500]

METHODS = list(catalogue())
LEARNERS = [name for name in METHODS if name != "majority"]
WITH_BACKBONE = [name for name, method in catalogue().items() if method.needs]


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Return what runs a method once per distinct question, and gives the outcome, the request and a reloaded predictor."""
    folder = tmp_path_factory.mktemp("contract")
    open_tiny = {"encoder": tiny_encoder, "decoder": tiny_decoder}

    @cache
    def backbone_of(kind):
        return open_tiny[kind](folder / kind)

    @cache
    def run(name, kind="encoder", home="first", n=240, n_classes=2, *, pairs=False):
        method = catalogue()[name]
        kind = kind if kind in method.takes else next(iter(method.takes))
        backbone = backbone_of(kind) if method.needs else None
        split = toy_split(n, n_classes, pairs=pairs)
        request = Request(method, method.settings(), 0, split, backbone, CPU, EFFORT)
        outcome, _ = run_variant(request, home=Home(folder / home))
        return request, outcome, Home(folder / home)

    return run


def reloaded(request, outcome, home):
    """Return the predictor as it is stored."""
    from tunewise.contracts import Runtime

    embed = embedder_for(request.backbone, CPU, home) if Need.EMBEDDINGS in request.method.needs else None
    return request.method.load(outcome.folder / ARTEFACT, Runtime(CPU, request.backbone, embed))


def beats_chance(outcome):
    """Say whether the test answers are better than those of the largest class, beyond doubt."""
    answers = outcome.test.answers
    rate = np.bincount(answers.labels).max() / len(answers.labels)
    return chance_of(int((answers.predicted == answers.labels).sum()), len(answers.labels), rate) < CHANCE_LEVEL


def looks_pickled(data):
    """Say whether these bytes begin with a pickle's protocol mark and end with its stop, or are a zip archive."""
    return (data[:1] == b"\x80" and data[1] in range(2, 6) and data.endswith(b".")) or data.startswith(b"PK")


@pytest.mark.parametrize("name", LEARNERS)
def test_it_beats_chance(runs, name):
    """Class words are learned from 144 rows, and no mark stands on the outcome."""
    _, outcome, _ = runs(name)

    assert beats_chance(outcome)
    assert outcome.marks == ()


@pytest.mark.parametrize("name", LEARNERS)
def test_pairs_are_learned(runs, name):
    """Pairs of texts are taken wherever texts are."""
    _, outcome, _ = runs(name, pairs=True)

    assert beats_chance(outcome)


@pytest.mark.parametrize("name", [name for name in WITH_BACKBONE if len(catalogue()[name].takes) > 1])
def test_a_decoder_serves_as_well(runs, name):
    """A causal language model is taken where the method says it is; its last token alone sees the text, so rows are more."""
    request, outcome, _ = runs(name, kind="decoder", n=600)

    assert request.backbone.kind == "decoder"
    assert beats_chance(outcome)


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_answers(runs, name):
    """A second fit in another home has equal probabilities, bit for bit."""
    _, first, _ = runs(name)
    _, second, _ = runs(name, home="second")

    assert np.array_equal(first.test.answers.probabilities, second.test.answers.probabilities)
    assert first.chosen == second.chosen


@pytest.mark.parametrize("name", [name for name in METHODS if not catalogue()[name].is_seeded])
def test_an_unseeded_method_ignores_the_seed(runs, name):
    """Where one outcome stands for all seeds, another seed indeed fits the same."""
    from tunewise.rng import Rng
    from tunewise.testing import toy_inputs

    request, outcome, home = runs(name)
    embed = embedder_for(request.backbone, CPU, home) if Need.EMBEDDINGS in request.method.needs else None
    inputs = toy_inputs(home.root, split=request.split)
    inputs = replace(inputs, runtime=replace(inputs.runtime, backbone=request.backbone, embed=embed), epochs=EFFORT.epochs)
    other = request.method.fit(inputs, request.settings, rng=Rng(12_345))

    assert np.array_equal(other.predict(request.split.test.texts), outcome.test.answers.probabilities)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_stored_answers_as_what_was_scored(runs, name):
    """The reloaded predictor gives the scored probabilities of the same texts in the same batches, bit for bit."""
    request, outcome, home = runs(name)
    predictor = reloaded(request, outcome, home)

    assert np.array_equal(predictor.predict(request.split.test.texts), outcome.test.answers.probabilities)
    assert predictor.chosen == outcome.chosen
    assert predictor.n_trained_parameters == outcome.costs.n_trained_parameters
    assert predictor.n_total_parameters == outcome.costs.n_total_parameters


@pytest.mark.parametrize("name", METHODS)
def test_nothing_stored_can_run_code(runs, name):
    """Only formats that hold data are written; no file begins and ends as a pickle or a zip of pickles does."""
    _, outcome, _ = runs(name)
    files = [path for path in (outcome.folder / ARTEFACT).rglob("*") if path.is_file()]

    assert files
    assert {path.suffix for path in files} <= SAFE_ENDINGS
    assert not any(looks_pickled(path.read_bytes()) for path in files)


@pytest.mark.parametrize("name", METHODS)
def test_texts_like_no_other_are_answered(runs, name):
    """Empty, unknown and overlong texts get finite probabilities that sum to 1."""
    predictor = reloaded(*runs(name))
    probabilities = predictor.predict(UNKNOWN)

    assert probabilities.shape == (len(UNKNOWN), 2)
    assert probabilities.dtype == np.float32
    assert np.isfinite(probabilities).all()
    assert (probabilities >= 0).all()
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_probabilities_sum_to_one(runs, name):
    """Every test row's do."""
    _, outcome, _ = runs(name)

    assert outcome.test.answers.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_every_cost_is_measured(runs, name):
    """No cost field is left empty, and what a method lacks is 0, not a guess."""
    request, outcome, _ = runs(name)
    costs = outcome.costs

    assert 0 < costs.fit_seconds < 60
    assert costs.fit_cpu_seconds > 0
    assert (costs.features_seconds > 0) == (Need.EMBEDDINGS in request.method.needs)
    assert costs.predict_seconds > 0
    assert costs.latency_ms > 0
    assert costs.throughput > 0
    assert costs.peak_bytes > 10 * 2**20
    assert costs.peak_above_start_bytes >= 0
    assert costs.device_peak_bytes is None
    assert costs.stored_bytes > 0
    n_backbone = request.backbone.n_parameters if request.backbone else 0
    assert costs.n_total_parameters >= max(n_backbone, costs.n_trained_parameters)


@pytest.mark.parametrize("name", WITH_BACKBONE)
def test_the_backbone_is_never_changed_in_place(runs, name):
    """Its files are the ones it was opened with, so another method finds what this one found."""
    request, _, _ = runs(name)
    (weights,) = request.backbone.folder.glob("*.safetensors")

    assert sha256_of_file(weights) == request.backbone.weights_sha256


@pytest.mark.parametrize("name", METHODS)
def test_it_says_what_it_is(name):
    """Tables and pages have a summary, a source and what is trained, and importing it needs no heavy library."""
    method = catalogue()[name]

    assert method.summary.endswith(".")
    assert ": " in method.summary
    assert method.source
    assert method.trains
    assert method.settings.__doc__
    assert all(field.description for field in method.settings.model_fields.values())


def test_seventy_seven_classes_are_told_apart(runs):
    """Logistic regression on 77 classes of ten rows answers many times better than one in 77."""
    _, outcome, _ = runs("logistic_regression", n=770, n_classes=77)

    assert outcome.test.answers.probabilities.shape == (154, 77)
    assert (outcome.test.answers.predicted == outcome.test.answers.labels).mean() > 10 / 77
