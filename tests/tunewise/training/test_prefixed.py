"""Prefixes: attention to them is attention to more keys and values, whatever the architecture."""

import pytest
import torch
from torch import nn
from transformers import DynamicCache
from transformers.models.deberta_v2.modeling_deberta_v2 import DebertaV2Config, DisentangledSelfAttention

from tunewise.backbones.loading import load_trunk
from tunewise.errors import BackboneError
from tunewise.rng import Rng
from tunewise.testing import tiny_decoder, tiny_encoder
from tunewise.training.prefixed import Disentangled, Prefix, Prefixed, Reparametrised, attend

TEXT, WORDS = [50, 51, 52, 53], [40, 41, 42]


def hidden_of(model, ids, mask=None, **options):
    """Return the hidden states of rows of equal length."""
    ids = torch.tensor(ids)
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids) if mask is None else mask, **options).last_hidden_state


def random_pairs(n_blocks, heads, length, width):
    """Return keys and values of every block."""
    with Rng(3).torch():
        return [(torch.randn(heads, length, width), torch.randn(heads, length, width)) for _ in range(n_blocks)]


def test_attention_by_hand():
    """One head of width 1: scores 0 and ln 3 weigh 1/4 and 3/4, so values 8 of the prefix and 4 of the text give 5."""

    class Attention(nn.Module):
        prefix = (torch.tensor([[[0.0]]]), torch.tensor([[[8.0]]]))

    key = torch.tensor([[[[3.0]]]]).log()
    query, value, mask = torch.ones_like(key), torch.full_like(key, 4.0), torch.ones(1, 1, 1, 1, dtype=torch.bool)

    assert attend(Attention(), query, key, value, mask, scaling=1.0)[0].item() == pytest.approx(5.0)


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta", "modernbert"])
def test_a_text_before_itself_changes_nothing(tmp_path, architecture):
    """With a prefix of the text's own keys and values every position weighs twice, so the weighted mean stays."""
    model = load_trunk(tiny_encoder(tmp_path, architecture=architecture))
    plain = hidden_of(model, [TEXT])
    trunk = Prefixed(model)
    trunk.prefix = Prefix(trunk.seen(TEXT))

    assert torch.allclose(hidden_of(trunk, [TEXT]), plain, atol=1e-5)
    trunk.prefix = Prefix(trunk_pairs_of_other_words(trunk))
    assert not torch.allclose(hidden_of(trunk, [TEXT]), plain, atol=1e-3)


def trunk_pairs_of_other_words(trunk):
    """Return the keys and values of other words."""
    prefix, trunk.prefix = trunk.prefix, None
    found = trunk.seen(WORDS)
    trunk.prefix = prefix
    return found


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma", "gemma3_text", "gpt2"])
def test_a_decoder_agrees_with_a_cache_of_past_keys(tmp_path, architecture):
    """Transformers' own cache, with the text at its own positions, gives the same hidden states."""
    backbone = tiny_decoder(tmp_path, architecture=architecture)
    model = load_trunk(backbone)
    trunk = Prefixed(load_trunk(backbone))
    heads, _, width = trunk.seen(WORDS)[0][0].shape
    pairs = random_pairs(2, heads, 3, width)
    trunk.prefix = Prefix(pairs)
    cache = DynamicCache()
    for i, (key, value) in enumerate(pairs):
        cache.update(key[None], value[None], i)
    mask, positions = torch.ones(1, 7, dtype=torch.long), torch.arange(4)[None]
    expected = hidden_of(model, [TEXT], mask=mask, past_key_values=cache, position_ids=positions)

    assert torch.allclose(hidden_of(trunk, [TEXT], use_cache=False), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_encoder_agrees_with_peft(tmp_path):
    """Peft's prefix agrees where our text, too, counts its positions from behind the prefix."""
    from peft import PrefixTuningConfig, get_peft_model

    backbone = tiny_encoder(tmp_path)
    ours, theirs = Prefixed(load_trunk(backbone)), load_trunk(backbone)
    pairs = random_pairs(2, 4, 3, 8)
    ours.prefix = Prefix(pairs)
    theirs = get_peft_model(theirs, PrefixTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=3)).eval()
    flat = torch.cat([tensor.transpose(0, 1).flatten(1) for pair in pairs for tensor in pair], 1)
    with torch.no_grad():
        theirs.prompt_encoder.default.embedding.weight.copy_(flat)
    found = hidden_of(ours, [TEXT], position_ids=torch.arange(3, 7)[None])

    assert torch.allclose(hidden_of(theirs, [TEXT]), found, atol=1e-5)


def test_deberta_reads_the_prefix_as_positions_before_the_text():
    """One attention layer agrees with itself over a longer text whose first keys and values are the prefix."""
    config = DebertaV2Config(
        hidden_size=8, num_attention_heads=2, relative_attention=True, pos_att_type=["c2p", "p2c"], position_buckets=4
    )
    with Rng(0).torch():
        inner = DisentangledSelfAttention(config).eval()
        text, more, relative = torch.randn(1, 4, 8), torch.randn(1, 3, 8), torch.randn(8, 8)
    longer, mask = torch.cat([more, text], 1), torch.ones(1, 1, 7, 7, dtype=torch.bool)
    expected = inner(longer, mask, rel_embeddings=relative)[0][:, 3:]
    rows = [projection(more)[0].unflatten(-1, (2, -1)).transpose(0, 1) for projection in (inner.key_proj, inner.value_proj)]
    wrapped = Disentangled(inner)
    wrapped.prefix = rows[0], rows[1]

    assert torch.allclose(wrapped(text, mask[..., :4, :4], rel_embeddings=relative)[0], expected, atol=1e-6)


def test_deberta_without_a_prefix_is_itself(tmp_path):
    """The stand-in passes everything on."""
    backbone = tiny_encoder(tmp_path, architecture="deberta-v2")

    assert torch.equal(hidden_of(Prefixed(load_trunk(backbone)), [TEXT]), hidden_of(load_trunk(backbone), [TEXT]))


@pytest.mark.parametrize(
    ("tiny", "architecture"),
    [(tiny_encoder, "bert"), (tiny_encoder, "modernbert"), (tiny_encoder, "deberta-v2"), (tiny_decoder, "gemma3_text")],
)
def test_padding_reaches_nothing(tmp_path, tiny, architecture):
    """A padded row's text has the hidden states that it has alone, also beside a longer one."""
    trunk = Prefixed(load_trunk(tiny(tmp_path, architecture=architecture)))
    trunk.prefix = Prefix(trunk.seen(WORDS))
    ids = [[*TEXT, 0, 0], [*TEXT, 54, 55]]
    padded = hidden_of(trunk, ids, mask=(torch.tensor(ids) > 0).long())

    assert torch.allclose(padded[:1, :4], hidden_of(trunk, [TEXT]), atol=1e-5)
    assert torch.allclose(padded[1:], hidden_of(trunk, ids[1:]), atol=1e-5)


def test_reparametrising_layers_start_at_the_words_and_reach_all_of_them():
    """At first they add nothing; afterwards every key and value is theirs to move."""
    pairs = random_pairs(2, 4, 3, 8)
    with Rng(0).torch():
        layers = Reparametrised(pairs, 16, 5)
    start = layers()

    assert all(torch.equal(a, b) for found, pair in zip(start, pairs, strict=True) for a, b in zip(found, pair, strict=True))
    with torch.no_grad():
        layers.out.bias.copy_(torch.arange(2 * 2 * 4 * 8.0))
    moved = [after - before for pair, old in zip(layers(), pairs, strict=True) for after, before in zip(pair, old, strict=True)]
    assert [tensor[0, 0, 0].round().item() for tensor in moved] == [0, 32, 64, 96]
    assert [tensor[1, 2, 0].round().item() for tensor in moved] == [8, 40, 72, 104]


def test_attention_of_its_own_is_refused(tmp_path, monkeypatch):
    """An architecture that ignores transformers' attention interface would ignore the prefix."""
    model = load_trunk(tiny_encoder(tmp_path))
    monkeypatch.setattr(type(model), "_can_set_attn_implementation", classmethod(lambda _: False))

    with pytest.raises(BackboneError, match=r"A bert computes attention in a way of its own.*soft_prompt"):
        Prefixed(model)
