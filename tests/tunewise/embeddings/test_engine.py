"""Features of a frozen backbone, packed and padded."""

import json
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
import torch

from tunewise.backbones.loading import load_trunk
from tunewise.backbones.opening import open_backbone
from tunewise.contracts import Device
from tunewise.embeddings.engine import Engine
from tunewise.embeddings.packed import SAFE_SCORE, attend, is_packable
from tunewise.rng import Rng
from tunewise.study import BackboneSpec
from tunewise.testing import plain_embed, tiny_decoder, tiny_encoder, toy_split

ENCODERS = ("bert", "distilbert", "roberta", "modernbert")
DECODERS = ("llama", "qwen2", "gpt2")
FLOAT32, BFLOAT16 = Device("cpu", "float32", 1), Device("cpu", "bfloat16", 1)
TEXTS = ["", "baba", *toy_split(60).train.texts, " ".join(["poma"] * 200)]
PAIRS = [*toy_split(60, pairs=True).train.texts, ("baba", ""), ("", "baba")]


def bert(folder, pooling="mean"):
    """Return a tiny BERT whose tokenizer says, as BERT's own does, which text of a pair a token belongs to."""
    backbone = tiny_encoder(folder)
    path = backbone.folder / "tokenizer_config.json"
    names = ["input_ids", "token_type_ids", "attention_mask"]
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_input_names": names}))
    return replace(backbone, pooling=pooling)


def features(backbone, texts, device=FLOAT32, *, may_pack=True):
    """Return the features of a fresh engine."""
    engine = Engine(backbone, device, may_pack=may_pack)
    return engine.features(engine.tokens(texts))


@pytest.mark.parametrize("texts", [TEXTS, PAIRS], ids=["texts", "pairs"])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_packed_features_are_the_models_own(tmp_path, pooling, texts):
    """In float32 the packed pass, the padded one and one plain batch agree within 1e-5, for texts and pairs."""
    backbone = bert(tmp_path, pooling)
    expected = plain_embed(backbone)(texts)

    assert Engine(backbone, FLOAT32).is_packed
    np.testing.assert_allclose(features(backbone, texts), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(features(backbone, texts, may_pack=False), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", [*ENCODERS[1:], *DECODERS])
def test_other_shapes_take_the_padded_pass(tmp_path, architecture):
    """Encoders of another shape and decoders give what one plain batch gives, within 1e-5."""
    backbone = (tiny_encoder if architecture in ENCODERS else tiny_decoder)(tmp_path, architecture=architecture)
    texts = TEXTS[1:]

    assert not Engine(backbone, FLOAT32).is_packed
    np.testing.assert_allclose(features(backbone, texts), plain_embed(backbone)(texts), rtol=0, atol=1e-5)


def test_the_second_text_of_a_pair_is_known_as_such(tmp_path):
    """The same tokens without segment numbers give other features, so the numbers do reach the model."""
    engine = Engine(bert(tmp_path), FLOAT32)
    tokens = engine.tokens(PAIRS)

    assert np.abs(engine.features(tokens) - engine.features(replace(tokens, segments=None))).max() > 1e-3


@pytest.mark.parametrize("may_pack", [True, False])
def test_bfloat16_stays_near_float32(tmp_path, may_pack):
    """The cosine to float32 is at least 0.999 for every text, and the result is not float32's own."""
    backbone = tiny_encoder(tmp_path)
    exact, rounded = features(backbone, TEXTS), features(backbone, TEXTS, BFLOAT16, may_pack=may_pack)

    assert (exact * rounded).sum(1).min() > 0.999
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(np.linalg.norm(rounded, axis=1), 1, atol=1e-6)


def test_threads_do_not_change_a_bit(tmp_path):
    """Each batch is computed by one core, so that one worker and three give the same bits."""
    backbone = tiny_encoder(tmp_path)
    texts = toy_split(600).train.texts

    assert np.array_equal(features(backbone, texts), features(backbone, texts, Device("cpu", "float32", 3)))


def test_torchs_threads_are_as_before(tmp_path):
    """Neither this thread nor a later one keeps the single core of the workers."""
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        features(tiny_encoder(tmp_path), TEXTS)
        later = Thread(target=lambda: seen.append(torch.get_num_threads()))
        later.start()
        later.join()

        assert [torch.get_num_threads(), *seen] == [2, 2]
    finally:
        torch.set_num_threads(before)


def test_each_batch_is_noted(tmp_path):
    """The count of finished texts rises to the number of texts."""
    engine, done = Engine(tiny_encoder(tmp_path), FLOAT32), []
    tokens = engine.tokens(toy_split(600).train.texts)
    engine.features(tokens, done.append)

    assert len(done) > 1
    assert done == sorted(set(done))
    assert done[-1] == len(tokens)


def test_a_failing_batch_ends_the_others(tmp_path, monkeypatch):
    """The error of the first batch arrives, and batches that had not begun are dropped."""
    engine, begun = Engine(tiny_encoder(tmp_path), FLOAT32), []

    def fail(tokens):
        begun.append(tokens)
        raise RuntimeError("no memory")

    monkeypatch.setattr(engine, "_forward", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        engine.features(engine.tokens(toy_split(2400).train.texts))
    assert len(begun) < 10


@pytest.mark.parametrize(
    ("name", "value"), [("hidden_act", "silu"), ("is_decoder", True)], ids=["another activation", "looks back only"]
)
def test_a_bert_that_differs_is_not_packed(tmp_path, name, value):
    """An activation that oneDNN does not apply, or causal attention, goes the padded way."""
    trunk = load_trunk(tiny_encoder(tmp_path))
    assert is_packable(trunk, torch.float32)

    setattr(trunk.config, name, value)
    assert not is_packable(trunk, torch.float32)


def _heads(scale):
    generator = Rng(0).numpy()
    shapes = generator.standard_normal((3, 4, 2, 7, 8)).astype(np.float32)
    q, k, v = torch.from_numpy(shapes)
    return (scale * q).bfloat16(), k.bfloat16(), v.bfloat16()


@pytest.mark.parametrize("scale", [0.3, 2.0, 40.0])
def test_attention_is_the_softmax_of_the_scores(scale):
    """Small scores and scores that would overflow give what a plain loop gives, within the rounding of bfloat16."""
    q, k, v = _heads(scale)
    is_small = (q.float() @ k.float().transpose(2, 3)).abs().max() < SAFE_SCORE
    assert is_small == (scale < 3)

    answer = attend(q, k, v).float()
    for text in range(4):
        for head in range(2):
            for place in range(7):
                scores = k[text, head].float() @ q[text, head, place].float()
                expected = torch.softmax(scores, 0) @ v[text, head].float()
                torch.testing.assert_close(answer[text, head, place], expected, rtol=0, atol=0.04)


def test_attention_to_a_single_token_is_its_value():
    """With one token the weights are 1 whatever the score."""
    q, k, v = (tensor[:, :, :1] for tensor in _heads(1.0))

    torch.testing.assert_close(attend(q, k, v), v, rtol=0.01, atol=0)


@pytest.mark.real
def test_minilm_in_bfloat16_keeps_its_directions(real_home, tmp_path):
    """On all-MiniLM-L6-v2 every feature of packed bfloat16 has cosine 0.999 or more to transformers' float32."""
    backbone = open_backbone(BackboneSpec(name="minilm", source="archive:minilm", kind="encoder"), base=tmp_path, home=real_home)
    texts = [f"The {noun} was {word}." for noun in ("film", "plot", "ending") for word in ("dull", "a joy to watch", "fine")]
    exact = plain_embed(backbone)(texts)

    np.testing.assert_allclose(features(backbone, texts), exact, rtol=0, atol=1e-5)
    assert (features(backbone, texts, BFLOAT16) * exact).sum(1).min() > 0.999
