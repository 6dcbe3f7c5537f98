"""Bottlenecks and soft prompts: their formulas, and that they start as the backbone."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tunewise.backbones.loading import load_trunk
from tunewise.rng import Rng
from tunewise.testing import tiny_decoder, tiny_encoder
from tunewise.training.injected import Bottleneck, SoftPrompted, first_position, n_positions

SHAPES = [(tiny_encoder, name) for name in ("bert", "distilbert", "roberta", "modernbert", "deberta-v2")]
SHAPES += [(tiny_decoder, name) for name in ("llama", "qwen3", "gemma", "gemma3_text", "gpt2")]
PROMPT, TEXT = [40, 41, 42], [50, 51, 52, 53]


def prompted(model, **options):
    """Return the model that reads the embeddings of ``PROMPT`` first."""
    with Rng(0).torch():
        found = SoftPrompted(model, len(PROMPT), **{"is_pooled": True, "positions": "shifted", **options})
    with torch.no_grad():
        found.prompt.weight.copy_(model.get_input_embeddings()(torch.tensor(PROMPT)))
    return found.eval()


def hidden_of(model, ids, **options):
    """Return the hidden states of one text."""
    ids = torch.tensor([ids])
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), **options).last_hidden_state


def test_a_bottleneck_by_hand():
    """With h = 2, W_down = 0.5 and W_up = 3 it gives 2 + 3 gelu(1) = 2 + 3 * 0.8413."""
    bottleneck = Bottleneck(nn.Identity(), 1, 1)
    with torch.no_grad():
        bottleneck.down.weight.fill_(0.5)
        bottleneck.up.weight.fill_(3.0)

    assert bottleneck(torch.tensor([[2.0]])).item() == pytest.approx(2 + 3 * 0.841345, abs=1e-4)


def test_a_bottleneck_starts_as_the_layer():
    """Bit for bit, with downward weights that are small and not zero."""
    layer = nn.Linear(8, 8)
    bottleneck = Bottleneck(layer, 8, 3)
    x = torch.randn(5, 8)

    assert torch.equal(bottleneck(x), layer(x))
    assert 0 < bottleneck.down.weight.abs().max() <= 0.02


@pytest.mark.parametrize(("tiny", "architecture"), SHAPES)
def test_vectors_of_words_are_words(tmp_path, tiny, architecture):
    """A prompt of word embeddings, counted as the source counts, is the same as those words before the text."""
    model = load_trunk(tiny(tmp_path, architecture=architecture))

    assert torch.allclose(hidden_of(prompted(model), TEXT), hidden_of(model, PROMPT + TEXT), atol=1e-5)


@pytest.mark.parametrize(("tiny", "architecture"), SHAPES)
def test_padding_reaches_nothing(tmp_path, tiny, architecture):
    """A padded row's text has the hidden states that it has alone."""
    model = prompted(load_trunk(tiny(tmp_path, architecture=architecture)), is_pooled=False, positions="own")
    ids = torch.tensor([[*TEXT, 0, 0]])
    with torch.no_grad():
        padded = model(input_ids=ids, attention_mask=(ids > 0).long()).last_hidden_state

    assert padded.shape == (1, 6, 32)
    assert torch.allclose(padded[:, :4], hidden_of(model, TEXT), atol=1e-5)


@pytest.mark.parametrize(("architecture", "first"), [("bert", 0), ("distilbert", 0), ("roberta", 1), ("modernbert", None)])
def test_positions_of_its_own(tmp_path, architecture, first):
    """Learned positions of the text start where they start without a prompt; relative ones cannot be told apart."""
    model = load_trunk(tiny_encoder(tmp_path, architecture=architecture))
    counted = None if first is None else first + torch.tensor([[0, 1, 2, 0, 1, 2, 3]])
    expected = hidden_of(model, PROMPT + TEXT, **({} if first is None else {"position_ids": counted}))

    assert first_position(model) == first
    assert n_positions(model) == (None if first is None else 64)
    assert torch.allclose(hidden_of(prompted(model, positions="own", is_pooled=False), TEXT), expected[:, 3:], atol=1e-5)
    if first is not None:
        assert not torch.allclose(hidden_of(prompted(model, is_pooled=False), TEXT), expected[:, 3:], atol=1e-4)


def test_sides_of_a_pair_stay_apart(tmp_path):
    """Segments reach the text behind the prompt; the prompt itself counts to the first."""
    model = load_trunk(tiny_encoder(tmp_path))
    segments = torch.tensor([[0, 0, 1, 1]])
    found = hidden_of(prompted(model), TEXT, token_type_ids=segments)

    assert torch.allclose(found, hidden_of(model, PROMPT + TEXT, token_type_ids=functional.pad(segments, (3, 0))), atol=1e-5)
    assert not torch.allclose(found, hidden_of(prompted(model), TEXT), atol=1e-4)
