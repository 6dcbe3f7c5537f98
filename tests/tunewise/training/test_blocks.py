"""Where the blocks of an architecture are, and what it calls their parts."""

import pytest
import torch
from torch import nn

from tunewise.backbones.loading import load_trunk
from tunewise.errors import BackboneError, SettingsError
from tunewise.testing import tiny_decoder, tiny_encoder
from tunewise.training.blocks import blocks_of, norm_above, put

SHAPES = [
    (tiny_encoder, "bert", "encoder.layer", "attention.output.dense", "output.dense", None),
    (tiny_encoder, "roberta", "encoder.layer", "attention.output.dense", "output.dense", None),
    (tiny_encoder, "distilbert", "transformer.layer", "attention.out_lin", "ffn.lin2", None),
    (tiny_encoder, "modernbert", "layers", "attn.Wo", "mlp.Wo", "final_norm"),
    (tiny_encoder, "deberta-v2", "encoder.layer", "attention.output.dense", "output.dense", None),
    (tiny_decoder, "llama", "layers", "self_attn.o_proj", "mlp.down_proj", "norm"),
    (tiny_decoder, "qwen2", "layers", "self_attn.o_proj", "mlp.down_proj", "norm"),
    (tiny_decoder, "gemma3_text", "layers", "self_attn.o_proj", "mlp.down_proj", "norm"),
    (tiny_decoder, "gpt2", "h", "attn.c_proj", "mlp.c_proj", "ln_f"),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape[1])
def test_parts_are_found_by_their_names(tmp_path, shape):
    """Both outputs of both blocks are layers of the model, as wide as its hidden states; the norm above is the last one."""
    tiny, architecture, place, attention, feed_forward, norm = shape
    model = load_trunk(tiny(tmp_path, architecture=architecture))
    blocks = blocks_of(model)

    assert (blocks.place, blocks.n) == (place, 2)
    assert blocks.names("attention_output") == [f"{place}.{i}.{attention}" for i in (0, 1)]
    assert blocks.names("feed_forward_output", blocks.top(1)) == [f"{place}.1.{feed_forward}"]
    for name in [*blocks.names("attention_output"), *blocks.names("feed_forward_output")]:
        assert 32 in model.get_submodule(name).weight.shape
    assert norm_above(model) is (None if norm is None else model.get_submodule(norm))


def test_a_name_tells_its_block(tmp_path):
    """What lies in no block has no number, however its name ends."""
    blocks = blocks_of(load_trunk(tiny_encoder(tmp_path)))

    assert blocks.number_of("encoder.layer.1.output.dense.weight") == 1
    assert blocks.number_of("embeddings.word_embeddings.weight") is None
    assert blocks.number_of("encoder.layer.norm.weight") is None
    assert blocks.number_of("model.encoder.layer.1.output.dense.weight") is None


def test_more_blocks_than_there_are_are_refused(tmp_path):
    """The error names both numbers."""
    blocks = blocks_of(load_trunk(tiny_encoder(tmp_path)))

    assert list(blocks.top(None)) == [0, 1]
    assert list(blocks.top(1)) == [1]
    with pytest.raises(SettingsError, match=r"blocks=3 was given and this backbone has 2.*from 1 to 2"):
        blocks.top(3)


def test_an_unknown_architecture_is_said_to_be(tmp_path):
    """The error says what is known and which methods need no blocks."""
    model = load_trunk(tiny_encoder(tmp_path))
    put(model, "encoder.layer.0.output.dense", nn.Identity())
    model.encoder.layer[0].output.mystery = model.encoder.layer[0].output.__dict__["_modules"].pop("dense")

    with pytest.raises(BackboneError, match=r"a bert's blocks are not known.*all_layers, head_only"):
        blocks_of(model)


def test_putting_replaces_one_module(tmp_path):
    """Only the named place changes."""
    model = load_trunk(tiny_encoder(tmp_path))
    other = nn.Linear(64, 32)
    kept = model.encoder.layer[0].output.dense.weight
    put(model, "encoder.layer.1.output.dense", other)

    assert model.encoder.layer[1].output.dense is other
    assert torch.equal(model.encoder.layer[0].output.dense.weight, kept)
