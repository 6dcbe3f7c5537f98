"""Output layers see every backbone at one scale; answers depend on a text alone, within rounding."""

import numpy as np
import pytest
import torch

from tunewise.backbones.loading import load_tokenizer
from tunewise.contracts import Device
from tunewise.rng import Rng
from tunewise.testing import CPU, tiny_decoder, tiny_encoder, toy_split
from tunewise.training.batches import encode
from tunewise.training.classifier import OutputLayers, new_classifier, probabilities

TEXTS = toy_split(60).train.texts


def head(**changes):
    """Return output layers from 4 features to 3 classes."""
    with Rng(0).torch():
        return OutputLayers(**{"width": 4, "hidden_layers": (), "n_classes": 3, "dropout": 0.0, **changes})


def test_scores_by_hand():
    """A vector (3, 0, 4, 0) has length 5; at root mean square one it is (1.2, 0, 1.6, 0)."""
    layers = head()
    with torch.no_grad():
        layers[-1].weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, 1.0, 0, 0]]))
        layers[-1].bias.copy_(torch.tensor([0.0, 0.0, 0.5]))

    assert layers(torch.tensor([[3.0, 0.0, 4.0, 0.0]]))[0].tolist() == pytest.approx([1.2, 1.6, 0.5])


def test_the_scale_of_the_features_says_nothing():
    """A backbone whose states are a thousand times as long gets the same scores."""
    vectors = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))

    assert torch.allclose(head()(vectors), head()(vectors * 1000), atol=1e-6)


def test_hidden_layers_stand_between():
    """Widths 4, 8, 2, 3 make 4*8+8 + 8*2+2 + 2*3+3 numbers."""
    assert sum(p.numel() for p in head(hidden_layers=(8, 2)).parameters()) == 40 + 18 + 9


@pytest.mark.parametrize("tiny", [tiny_encoder, tiny_decoder])
def test_neither_company_nor_padding_changes_an_answer(tmp_path, tiny):
    """One text alone is answered as among 36 of other lengths, in whatever order."""
    backbone = tiny(tmp_path)
    with Rng(0).torch():
        classifier = new_classifier(backbone, 2, CPU, dropout=0.1).eval()
    encoded = encode(load_tokenizer(backbone), TEXTS)
    together = probabilities(classifier, encoded, 2)

    for i in (0, 17, 35):
        alone = probabilities(classifier, encode(load_tokenizer(backbone), [TEXTS[i]]), 2)
        assert alone[0] == pytest.approx(together[i], abs=1e-6)
    assert together.sum(1) == pytest.approx(np.ones(36), abs=1e-6)


def test_attention_is_plain_while_training_and_fused_while_answering(tmp_path):
    """On a CPU each is the faster one for its purpose; both compute the same."""
    with Rng(0).torch():
        classifier = new_classifier(tiny_encoder(tmp_path), 2, CPU, dropout=0.0)
    batch = {
        "input_ids": torch.tensor([[2, 9, 3, 0], [2, 9, 9, 3]]),
        "attention_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]),
    }
    trained, answered = classifier.train()(batch), classifier.eval()(batch)

    assert classifier.pretrained.config._attn_implementation == "sdpa"
    assert classifier.train().pretrained.config._attn_implementation == "eager"
    assert torch.allclose(trained, answered, atol=1e-6)


def test_bfloat16_rounds_the_trunk_and_not_the_output_layer(tmp_path):
    """Answers differ from float32 ones, by less than 1e-2, and stay float32."""
    backbone = tiny_encoder(tmp_path)
    encoded = encode(load_tokenizer(backbone), TEXTS)
    found = {}
    for dtype in ("float32", "bfloat16"):
        with Rng(0).torch():
            classifier = new_classifier(backbone, 2, Device("cpu", dtype, 1), dropout=0.0).eval()
        found[dtype] = probabilities(classifier, encoded, 2)

    assert found["bfloat16"].dtype == np.float32
    assert 0 < np.abs(found["bfloat16"] - found["float32"]).max() < 1e-2
