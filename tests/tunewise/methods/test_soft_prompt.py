"""Soft prompts as a method; that the vectors are read as words is held in the tests of `tunewise.training.injected`."""

import pytest
import torch

from tunewise.backbones.loading import load_trunk
from tunewise.errors import SettingsError
from tunewise.methods.peft.soft_prompt import METHOD, SoftPromptSettings, fit
from tunewise.rng import Rng
from tunewise.testing import Toy, toy_inputs

QUICK = {"length": 5, "min_steps": 12}


@pytest.fixture
def inputs(tmp_path):
    """Return two epochs on a toy task."""
    return toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(epochs=2))


def test_only_vectors_and_output_layer_are_trained(inputs):
    """5 vectors of width 32, an output layer, and the backbone bit for bit as it was."""
    predictor = fit(inputs, SoftPromptSettings(**QUICK), rng=Rng(0))
    before = load_trunk(inputs.runtime.backbone).state_dict()
    after = predictor.classifier.trunk.model.state_dict()

    assert predictor.n_trained_parameters == 5 * 32 + 32 * 2 + 2
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_vectors_start_at_words_of_the_training_texts(inputs):
    """With a step too small to see, each vector is the embedding of a token that is no special one."""
    predictor = fit(inputs, SoftPromptSettings(**QUICK, learning_rate=1e-30), rng=Rng(0))
    table = predictor.classifier.pretrained.get_input_embeddings().weight
    vectors = predictor.classifier.trunk.prompt.weight
    tokens = [int((table == vector).all(1).nonzero().squeeze()) for vector in vectors]

    assert len(set(tokens)) == 5
    assert min(tokens) > 4
    assert tokens == predictor.kept.shape["tokens"]


def test_random_vectors_lie_within_the_sources_bounds(inputs):
    """Uniform in [-0.5, 0.5]."""
    predictor = fit(inputs, SoftPromptSettings(**QUICK, init="random", learning_rate=1e-30), rng=Rng(0))
    vectors = predictor.classifier.trunk.prompt.weight

    assert 0.3 < vectors.abs().max() <= 0.5


@pytest.mark.parametrize(("positions", "n_tokens"), [("own", 64), ("shifted", 59)])
def test_texts_leave_room_where_positions_are_shared(inputs, positions, n_tokens):
    """A table of 64 positions serves 5 vectors and 59 tokens, or 64 tokens where the text counts from itself."""
    predictor = fit(inputs, SoftPromptSettings(**QUICK, positions=positions), rng=Rng(0))

    assert predictor.tokenizer.model_max_length == n_tokens
    assert predictor.predict(["word " * 300]).shape == (1, 2)


@pytest.mark.parametrize(("pooled", "n_first"), [("text", 5), ("all", 0)])
def test_what_is_pooled(inputs, pooled, n_first):
    """The mean is taken over the text's hidden states, or over those of the vectors as well; padding is in neither."""
    predictor = fit(inputs, SoftPromptSettings(**QUICK, pooled=pooled), rng=Rng(0))
    trunk = predictor.classifier.trunk
    ids = torch.tensor([[2, 50, 51, 3, 0, 0]])
    with torch.no_grad():
        read = torch.cat([trunk.prompt.weight[None], trunk.model.get_input_embeddings()(ids[:, :4])], 1)
        positions = torch.tensor([[*range(5), *range(4)]])
        hidden = trunk.model(inputs_embeds=read, position_ids=positions).last_hidden_state
        found = predictor.classifier.vectors({"input_ids": ids, "attention_mask": (ids > 0).long()})

    assert torch.allclose(found, hidden[:, n_first:].mean(1), atol=1e-5)


def test_a_prompt_that_leaves_no_room_is_refused(inputs):
    """The error names both numbers."""
    with pytest.raises(SettingsError, match=r"length=64 was given and tiny_bert reads 64 tokens"):
        fit(inputs, SoftPromptSettings(length=64), rng=Rng(0))
