"""Adapters: where they stand, how many numbers they are, and that taking them out gives the backbone back."""

import pytest
import torch

from tunewise.backbones.loading import load_trunk
from tunewise.errors import SettingsError
from tunewise.methods.peft.adapter import METHOD, AdapterSettings, fit, install, shape_of
from tunewise.rng import Rng
from tunewise.testing import CPU, Toy, tiny_decoder, tiny_encoder, toy_inputs
from tunewise.training.blocks import put
from tunewise.training.classifier import new_classifier
from tunewise.training.installing import put_in

QUICK = AdapterSettings(min_steps=12, size=4)
BATCH = {"input_ids": torch.tensor([[2, 9, 3, 0], [2, 9, 9, 3]]), "attention_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])}


def classifier_of(backbone):
    """Return the backbone with a new output layer, the same each time."""
    with Rng(0).torch():
        return new_classifier(backbone, 2, CPU, dropout=0.0).eval()


def adapted(backbone, settings):
    """Return the classifier with bottlenecks in it, and what they are."""
    classifier = classifier_of(backbone)
    shape = shape_of(classifier, settings)
    with Rng(1).torch():
        put_in(install, classifier, shape)
    return classifier.eval(), shape


@pytest.mark.parametrize(
    ("tiny", "architecture"),
    [(tiny_encoder, "bert"), (tiny_encoder, "deberta-v2"), (tiny_decoder, "gpt2"), (tiny_decoder, "gemma")],
)
def test_step_zero_is_the_backbone(tmp_path, tiny, architecture):
    """Upward weights of zero leave every score as it is, bit for bit."""
    backbone = tiny(tmp_path, architecture=architecture)

    assert torch.equal(adapted(backbone, AdapterSettings())[0](BATCH), classifier_of(backbone)(BATCH))


def test_taking_them_out_gives_the_backbone_back(tmp_path):
    """After training, the layers behind the bottlenecks are the backbone's bit for bit."""
    inputs = toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(epochs=2))
    predictor = fit(inputs, QUICK, rng=Rng(0))
    model = predictor.classifier.trunk
    for name in predictor.kept.shape["layers"]:
        put(model, name, model.get_submodule(name).layer)
    before = load_trunk(inputs.runtime.backbone).state_dict()

    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_trained_numbers_by_hand(tmp_path):
    """Size 4 beside width 32, with biases, at 2 places in 2 blocks, and an output layer of 32 x 2 with its bias."""
    predictor = fit(toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(epochs=1)), QUICK, rng=Rng(0))

    assert predictor.n_trained_parameters == 2 * 2 * (32 * 4 + 4 + 4 * 32 + 32) + 32 * 2 + 2


def test_places_follow_the_sources(tmp_path):
    """Houlsby's two a block; Pfeiffer's one; norms only on request and only in chosen blocks."""
    classifier = classifier_of(tiny_encoder(tmp_path))
    both, one = (shape_of(classifier, AdapterSettings(places=places)) for places in ("both", "feed_forward"))
    top = shape_of(classifier, AdapterSettings(blocks=1, train_norms=True))

    assert sorted(both["layers"]) == sorted(
        f"encoder.layer.{i}.{name}" for i in (0, 1) for name in ("attention.output.dense", "output.dense")
    )
    assert one["layers"] == ["encoder.layer.0.output.dense", "encoder.layer.1.output.dense"]
    assert both["norms"] == []
    assert top["layers"] == ["encoder.layer.1.attention.output.dense", "encoder.layer.1.output.dense"]
    assert top["norms"] == ["encoder.layer.1.attention.output.LayerNorm", "encoder.layer.1.output.LayerNorm"]


def test_more_blocks_than_there_are_are_refused(tmp_path):
    """The error says how many there are."""
    with pytest.raises(SettingsError, match=r"blocks=7 was given and this backbone has 2"):
        fit(toy_inputs(tmp_path, needs=METHOD.needs), AdapterSettings(blocks=7), rng=Rng(0))
