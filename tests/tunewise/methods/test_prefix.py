"""Prefix tuning as a method; that attention to a prefix is right is held in the tests of `tunewise.training.prefixed`."""

import numpy as np
import pytest
import torch

from tunewise.backbones.loading import load_trunk
from tunewise.errors import SettingsError
from tunewise.methods.peft.prefix import METHOD, PrefixSettings, fit, load
from tunewise.rng import Rng
from tunewise.testing import Toy, toy_inputs


@pytest.fixture
def inputs(tmp_path):
    """Return two epochs on a toy task."""
    return toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(epochs=2))


def test_trained_numbers_by_hand(inputs):
    """5 keys and 5 values of width 32 in 2 blocks, and an output layer; the backbone stays bit for bit."""
    predictor = fit(inputs, PrefixSettings(length=5, min_steps=12), rng=Rng(0))
    before = load_trunk(inputs.runtime.backbone).state_dict()
    after = predictor.classifier.trunk.model.state_dict()

    assert predictor.n_trained_parameters == 2 * 2 * 5 * 32 + 32 * 2 + 2
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_reparametrising_layers_are_dropped_after_training(inputs, tmp_path):
    """What is stored is the prefix alone, and it answers as the layers did."""
    predictor = fit(inputs, PrefixSettings(length=5, mid_dim=7, min_steps=12), rng=Rng(0))
    folder = tmp_path / "saved"
    folder.mkdir()
    predictor.save(folder)
    texts = inputs.development.texts

    assert predictor.n_trained_parameters == 2 * 2 * 5 * 32 + 32 * 2 + 2
    assert {name.split(".")[1] for name in predictor.kept.tensors if name.startswith("trunk")} == {"prefix"}
    assert np.array_equal(load(folder, inputs.runtime).predict(texts), predictor.predict(texts))


@pytest.mark.parametrize("init", ["words", "random"])
def test_either_start_is_trained_away_from(inputs, init):
    """The start depends on the setting, and the answers on the prefix."""
    predictor = fit(inputs, PrefixSettings(length=4, init=init, min_steps=12), rng=Rng(0))
    texts = inputs.development.texts
    before = predictor.predict(texts)
    with torch.no_grad():
        predictor.classifier.trunk.prefix.values[1].mul_(-3.0)

    assert not np.array_equal(predictor.predict(texts), before)


def test_a_prefix_longer_than_texts_is_refused(inputs):
    """The start could not be read at once."""
    with pytest.raises(SettingsError, match=r"length=64 was given and tiny_bert reads 64 tokens"):
        fit(inputs, PrefixSettings(length=64), rng=Rng(0))
