"""BitFit: biases move and nothing else, also where an architecture has none."""

import pytest
import torch

from tunewise.backbones.loading import load_trunk
from tunewise.methods.peft.bitfit import METHOD, BitfitSettings, fit, install, shape_of
from tunewise.rng import Rng
from tunewise.testing import CPU, Toy, tiny_decoder, tiny_encoder, toy_inputs
from tunewise.training.classifier import new_classifier
from tunewise.training.installing import put_in

BATCH = {"input_ids": torch.tensor([[2, 9, 3, 0], [2, 9, 9, 3]]), "attention_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])}


def classifier_of(backbone):
    """Return the backbone with a new output layer, the same each time."""
    with Rng(0).torch():
        return new_classifier(backbone, 2, CPU, dropout=0.0).eval()


def test_trained_numbers_by_hand(tmp_path):
    """In each of 2 blocks: 4 attention layers and the output of 32, an inner layer of 64, two norms; one norm below."""
    inputs = toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(epochs=1))
    predictor = fit(inputs, BitfitSettings(min_steps=3), rng=Rng(0))
    before, after = load_trunk(inputs.runtime.backbone).state_dict(), predictor.classifier.trunk.state_dict()

    assert predictor.n_trained_parameters == 2 * (5 * 32 + 64 + 2 * 32) + 32 + 32 * 2 + 2
    assert all(torch.equal(before[name], after[name]) for name in before if not name.endswith("bias"))
    assert predictor.n_total_parameters == sum(tensor.numel() for tensor in before.values()) + 32 * 2 + 2


@pytest.mark.parametrize(("tiny", "architecture"), [(tiny_encoder, "modernbert"), (tiny_decoder, "llama")])
def test_biases_that_lack_start_at_zero(tmp_path, tiny, architecture):
    """Every linear layer of the blocks gets one, and no score changes by it."""
    backbone = tiny(tmp_path, architecture=architecture)
    plain, classifier = classifier_of(backbone), classifier_of(backbone)
    shape = shape_of(classifier, "all")
    put_in(install, classifier, shape)

    assert len(shape["layers"]) == 2 * (7 if architecture == "llama" else 4)
    assert all(not classifier.trunk.get_submodule(name).bias.any() for name in shape["layers"])
    assert torch.equal(classifier(BATCH), plain(BATCH))


def test_the_subset_of_the_source(tmp_path):
    """Query and inner layer: 32 + 64 biases in each of 2 blocks, and the output layer."""
    inputs = toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(epochs=1))
    predictor = fit(inputs, BitfitSettings(min_steps=3, biases="query_and_feed_forward"), rng=Rng(0))

    assert predictor.n_trained_parameters == 2 * (32 + 64) + 32 * 2 + 2
