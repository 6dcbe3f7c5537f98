"""Fine-tuning I: only output layers are trained, and features once computed are what the trunk would give."""

import numpy as np
import pytest
from pydantic import ValidationError

from tunewise.backbones.loading import load_tokenizer, load_trunk
from tunewise.contracts import Need
from tunewise.methods.finetune.head_only import METHOD, HeadOnlySettings, fit, load
from tunewise.rng import Rng
from tunewise.testing import Toy, toy_inputs
from tunewise.training.batches import encode
from tunewise.training.classifier import Classifier, probabilities

BRIEF = HeadOnlySettings(hidden_layers=[8], min_steps=50, dropout=0.1)


@pytest.fixture
def inputs(tmp_path):
    """Return a toy task of three classes, with features."""
    return toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(n_classes=3))


def test_it_learns_what_the_features_show(inputs):
    """Far above one in three, on a backbone of random weights."""
    answers = fit(inputs, HeadOnlySettings(min_steps=300), rng=Rng(0)).predict(inputs.development.texts)

    assert (answers.argmax(1) == inputs.development.labels).mean() > 0.6
    assert answers.sum(1) == pytest.approx(np.ones(len(answers)), abs=1e-6)


@pytest.mark.parametrize(("hidden_layers", "n"), [([], 32 * 3 + 3), ([8], 32 * 8 + 8 + 8 * 3 + 3), ([8, 4], 264 + 36 + 15)])
def test_trained_numbers_by_hand(inputs, hidden_layers, n):
    """Weights and biases of each output layer, over 32 features; the backbone's come on top."""
    predictor = fit(inputs, HeadOnlySettings(hidden_layers=hidden_layers, min_steps=5), rng=Rng(0))

    assert predictor.n_trained_parameters == n
    assert predictor.n_total_parameters == n + inputs.runtime.backbone.n_parameters


def test_it_answers_as_the_frozen_trunk_with_that_head_would(inputs):
    """Sending texts through trunk, pooling and output layers gives what stored features give: the two are one model."""
    predictor = fit(inputs, BRIEF, rng=Rng(0))
    backbone = inputs.runtime.backbone
    whole = Classifier(load_trunk(backbone), predictor.classifier.layers, backbone, inputs.runtime.device).eval()
    texts = inputs.development.texts
    expected = probabilities(whole, encode(load_tokenizer(backbone), texts), 3)

    assert predictor.predict(texts) == pytest.approx(expected, abs=1e-5)


def test_same_seed_same_answers_and_saved_ones_too(inputs, tmp_path):
    """Bit for bit, also after a save and a load; another seed differs."""
    first, second, other = (fit(inputs, BRIEF, rng=Rng(seed)) for seed in (0, 0, 1))
    folder = tmp_path / "saved"
    folder.mkdir()
    first.save(folder)
    loaded = load(folder, inputs.runtime)
    texts = inputs.development.texts

    assert np.array_equal(first.predict(texts), second.predict(texts))
    assert np.array_equal(first.predict(texts), loaded.predict(texts))
    assert not np.array_equal(first.predict(texts), other.predict(texts))
    assert loaded.chosen == first.chosen
    assert (loaded.n_trained_parameters, loaded.n_total_parameters) == (first.n_trained_parameters, first.n_total_parameters)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 5_000


def test_no_text_gives_no_row(inputs):
    """An empty table is answered with an empty one of the right width."""
    assert fit(inputs, HeadOnlySettings(min_steps=5), rng=Rng(0)).predict([]).shape == (0, 3)


@pytest.mark.parametrize("hidden_layers", [[0], [-3], ["wide"]])
def test_a_width_below_one_is_refused(hidden_layers):
    """The error stands at the width's own place in the list."""
    with pytest.raises(ValidationError, match=r"hidden_layers\.0"):
        HeadOnlySettings(hidden_layers=hidden_layers)


def test_it_asks_for_features_alone():
    """No weights are loaded where features are at hand."""
    assert METHOD.needs == {Need.EMBEDDINGS}


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_both_kinds_of_backbone_serve(tmp_path, kind):
    """Mean-pooled encoders and decoders pooled at their last token."""
    inputs = toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(kind=kind))
    answers = fit(inputs, HeadOnlySettings(min_steps=300), rng=Rng(0)).predict(inputs.train.texts)

    assert (answers.argmax(1) == inputs.train.labels).mean() > 0.6
