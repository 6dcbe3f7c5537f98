"""IA3: keys, values and inner activations are scaled, and the scales become part of the weights."""

import pytest
import torch

from tunewise.backbones.loading import load_trunk
from tunewise.methods.peft.ia3 import METHOD, Ia3Settings, fit, install, shape_of
from tunewise.rng import Rng
from tunewise.testing import CPU, Toy, tiny_decoder, tiny_encoder, toy_inputs
from tunewise.training.classifier import new_classifier
from tunewise.training.installing import merge_peft, put_in

BATCH = {"input_ids": torch.tensor([[2, 9, 3, 0], [2, 9, 9, 3]]), "attention_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])}
SHAPES = [(tiny_encoder, "bert"), (tiny_encoder, "modernbert"), (tiny_encoder, "deberta-v2"), (tiny_decoder, "llama")]
SHAPES += [(tiny_decoder, "gpt2"), (tiny_decoder, "gemma3_text")]


def classifier_of(backbone):
    """Return the backbone with a new output layer, the same each time."""
    with Rng(0).torch():
        return new_classifier(backbone, 2, CPU, dropout=0.0).eval()


@pytest.mark.parametrize(("tiny", "architecture"), SHAPES)
def test_step_zero_and_merging(tmp_path, tiny, architecture):
    """Ones change no score; other scales merge into the weights within rounding."""
    backbone = tiny(tmp_path, architecture=architecture)
    plain, classifier = classifier_of(backbone), classifier_of(backbone)
    put_in(install, classifier, shape_of(classifier))
    classifier.eval()
    first = classifier(BATCH)
    with torch.no_grad(), Rng(1).torch():
        for name, parameter in classifier.named_parameters():
            if "ia3_l" in name:
                parameter.uniform_(0.2, 3.0)
    unmerged = classifier(BATCH)
    merge_peft(classifier)

    assert torch.equal(first, plain(BATCH))
    assert not torch.allclose(unmerged, first, atol=1e-3)
    assert torch.allclose(classifier.eval()(BATCH), unmerged, atol=1e-5)


def test_the_merged_weights_are_the_formula(tmp_path):
    """Rows of key and value, with their biases, and columns of the feed-forward output are scaled by what is stored."""
    inputs = toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(epochs=2))
    predictor = fit(inputs, Ia3Settings(min_steps=12), rng=Rng(0))
    before, after = load_trunk(inputs.runtime.backbone).state_dict(), predictor.classifier.trunk.state_dict()
    scales = {
        name.removeprefix("trunk.base_model.model.").removesuffix(".ia3_l.default"): tensor
        for name, tensor in predictor.kept.tensors.items()
        if "ia3_l" in name
    }

    assert len(scales) == 2 * 3
    assert predictor.n_trained_parameters == 2 * (32 + 32 + 64) + 32 * 2 + 2
    for name, scale in scales.items():
        assert torch.allclose(after[f"{name}.weight"], before[f"{name}.weight"] * scale, atol=1e-6)
        if "attention" in name:
            assert torch.allclose(after[f"{name}.bias"], before[f"{name}.bias"] * scale.flatten(), atol=1e-6)
    touched = {f"{name}.{kind}" for name in scales for kind in ("weight", "bias")}
    assert all(torch.equal(after[name], before[name]) for name in before if name not in touched)


def test_scales_are_not_drawn_to_zero():
    """Decay would pull a scale to 0, which silences its activation."""
    assert Ia3Settings().weight_decay == 0
