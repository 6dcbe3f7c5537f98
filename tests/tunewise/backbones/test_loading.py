"""Tokenizers and trunks from local folders."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from tunewise.backbones.loading import load_tokenizer, load_trunk
from tunewise.backbones.offline import offline
from tunewise.errors import BackboneError
from tunewise.testing import encode, plain_embed, tiny_decoder, tiny_encoder

ENCODERS = ("bert", "distilbert", "roberta", "modernbert")
DECODERS = ("llama", "qwen2", "gpt2")


def tiny(folder, architecture):
    """Write whichever kind the architecture is."""
    return (tiny_encoder if architecture in ENCODERS else tiny_decoder)(folder, architecture=architecture)


@pytest.mark.parametrize("architecture", [*ENCODERS, *DECODERS])
def test_every_dropout_of_the_trunk_is_set(tmp_path, architecture):
    """With dropout 0.25 training mode drops at 0.25 wherever the architecture drops; with 0 it equals evaluation mode."""
    backbone = tiny(tmp_path, architecture)
    layers = [layer for layer in load_trunk(backbone, dropout=0.25).modules() if isinstance(layer, torch.nn.Dropout)]
    assert {layer.p for layer in layers} <= {0.25}

    batch = encode(load_tokenizer(backbone), ["baba puva", "poma bafa kiki"])
    with torch.no_grad():
        some = load_trunk(backbone, dropout=0.25).train()
        assert not torch.equal(some(**batch).last_hidden_state, some(**batch).last_hidden_state)
        none = load_trunk(backbone, dropout=0.0)
        still = none(**batch).last_hidden_state
        assert torch.equal(none.train()(**batch).last_hidden_state, still)


@pytest.mark.parametrize("architecture", [*ENCODERS, *DECODERS])
def test_a_trunk_is_the_files_weights_in_float32(tmp_path, architecture):
    """A file in bfloat16 is loaded in float32, without pooler or head, in evaluation mode."""
    backbone = tiny(tmp_path, architecture)
    path = backbone.folder / "model.safetensors"
    stored = {name: tensor.bfloat16() for name, tensor in load_file(path).items()}
    save_file(stored, path, {"format": "pt"})
    config = backbone.folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "dtype": "bfloat16"}))
    trunk = load_trunk(backbone)

    assert not trunk.training
    assert {tensor.dtype for tensor in trunk.parameters()} == {torch.float32}
    assert sum(tensor.numel() for tensor in trunk.parameters()) == backbone.n_parameters
    assert not [name for name, _ in trunk.named_parameters() if "pooler" in name or "lm_head" in name]
    for name, tensor in trunk.named_parameters():
        assert torch.equal(tensor, stored[name].float())


def test_a_missing_weight_is_not_drawn_at_random(tmp_path):
    """A file that lacks a weight is refused by the weight's name."""
    backbone = tiny_encoder(tmp_path)
    path = backbone.folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, path, {"format": "pt"})

    with pytest.raises(BackboneError, match=r"lacks 1 weights of its architecture, such as encoder.layer.1.output.dense.weight"):
        load_trunk(backbone)


def test_damaged_weights_are_named(tmp_path):
    """A file cut in the middle is no traceback of a library."""
    backbone = tiny_encoder(tmp_path)
    path = backbone.folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])

    with pytest.raises(BackboneError, match=r"The weights in .* are damaged: .*Fetch the model again"):
        load_trunk(backbone)


def test_the_trunk_of_a_model_with_a_head(tmp_path):
    """A file saved with a masked-language-model head gives the trunk inside it."""
    from transformers import BertConfig, BertForMaskedLM

    backbone = tiny_encoder(tmp_path)
    config = BertConfig.from_pretrained(backbone.folder)
    whole = BertForMaskedLM(config)
    whole.save_pretrained(backbone.folder)

    for name, tensor in load_trunk(backbone).named_parameters():
        assert torch.equal(tensor, whole.bert.get_parameter(name))


def test_loading_seeds_and_draws_nothing(tmp_path):
    """The global generator stands where it stood: loading is no part of a fit's randomness."""
    backbone = tiny_encoder(tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_trunk(backbone)

    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("architecture", [*ENCODERS, *DECODERS])
def test_a_text_at_the_limit_passes_the_trunk(tmp_path, architecture):
    """The longest text that the tokenizer lets through has a position for each of its tokens."""
    backbone = tiny(tmp_path, architecture)
    batch = encode(load_tokenizer(backbone), ["baba " * 500])
    with torch.no_grad():
        hidden = load_trunk(backbone)(**batch).last_hidden_state

    assert hidden.shape == (1, 64, 32)
    assert hidden.isfinite().all()


@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_texts_are_padded_and_cut_on_the_right(tmp_path, architecture):
    """Positions start at the first token, and no text is longer than the backbone's limit."""
    backbone = tiny(tmp_path, architecture)
    batch = encode(load_tokenizer(backbone), ["baba " * 500, "baba"])

    assert batch["input_ids"].shape == (2, backbone.max_tokens)
    assert batch["attention_mask"][0].tolist() == [1] * backbone.max_tokens
    row = batch["attention_mask"][1].tolist()
    assert row == sorted(row, reverse=True)


def test_a_tokenizer_without_padding_is_given_one(tmp_path):
    """Many decoders name no padding token; their end token serves, since masks hide it."""
    backbone = tiny_decoder(tmp_path)
    path = backbone.folder / "tokenizer_config.json"
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "pad_token"}))
    tokenizer = load_tokenizer(backbone)

    assert tokenizer.convert_ids_to_tokens(tokenizer.pad_token_id) == "[SEP]"
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert plain_embed(backbone)(["baba", "baba puva poma"]).shape == (2, 32)


def test_a_block_offline_leaves_no_trace(monkeypatch):
    """Inside it the hub's library refuses requests, nested or not; after it everything is as before."""
    import huggingface_hub.constants
    import huggingface_hub.errors

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with offline():
        with offline():
            assert huggingface_hub.is_offline_mode()
        assert huggingface_hub.is_offline_mode()
        with pytest.raises(huggingface_hub.errors.OfflineModeIsEnabled):
            huggingface_hub.HfApi(endpoint="http://127.0.0.1:9").model_info("org/name")

    assert not huggingface_hub.is_offline_mode()
    assert "HF_HUB_OFFLINE" not in os.environ


@pytest.mark.real
def test_features_equal_those_of_sentence_transformers(real_home, tmp_path):
    """On the embedded encoder our slow features are an independent library's to within 1e-6."""
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from tunewise.backbones.opening import open_backbone
    from tunewise.study import BackboneSpec

    backbone = open_backbone(BackboneSpec(name="minilm", source="archive:minilm"), base=Path(), home=real_home)
    texts = ["a gripping film", "the plot is thin , and so is the popcorn !", "word " * 400]
    theirs = SentenceTransformer(str(backbone.folder), device="cpu").encode(texts, normalize_embeddings=True)

    assert abs(plain_embed(backbone)(texts) - theirs).max() < 1e-6
