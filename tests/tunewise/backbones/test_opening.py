"""What a model folder is taken for, and which ones are refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tunewise.backbones import inspection
from tunewise.backbones.opening import open_backbone
from tunewise.errors import BackboneError
from tunewise.study import BackboneSpec
from tunewise.testing import tiny_decoder, tiny_encoder


def edit(path, **values):
    """Change values of a JSON file, which is made where it is missing."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **values}))


@pytest.fixture
def folder(tmp_path):
    """A folder with a tiny BERT."""
    return tiny_encoder(tmp_path / "model").folder


@pytest.fixture
def opened(folder, home, tmp_path):
    """Opens ``folder`` as a study would."""

    def open_it(**spec):
        return open_backbone(BackboneSpec(name="mine", source="model", **spec), base=tmp_path, home=home)

    return open_it


def test_a_folder_is_described_by_its_files(opened, folder):
    """The weights' hash is that of the file, and the parameters are those in it."""
    backbone = opened()

    assert backbone.weights_sha256 == inspection.sha256_of_file(folder / "model.safetensors")
    assert backbone.n_parameters == sum(tensor.numel() for tensor in load_file(folder / "model.safetensors").values())
    assert (backbone.name, backbone.architecture, backbone.hidden_size, backbone.n_layers) == ("mine", "bert", 32, 2)
    assert (backbone.max_tokens, backbone.pooling, backbone.licence) == (64, "mean", "unknown")


def test_a_second_opening_reads_no_weights(opened, monkeypatch):
    """What was hashed once is kept beside names, sizes and times of the files."""
    first = opened()
    monkeypatch.setattr(inspection, "sha256_of_file", lambda path: pytest.fail(f"{path} was read again"))

    assert opened() == first


def test_a_changed_file_is_hashed_anew(opened, folder):
    """One other weight gives another hash, although the file has the same size."""
    before = opened()
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][0, 0] += 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    after = opened()

    assert after.weights_sha256 != before.weights_sha256
    assert after.fingerprint != before.fingerprint
    assert (after.config_sha256, after.tokenizer_sha256) == (before.config_sha256, before.tokenizer_sha256)


@pytest.mark.parametrize(
    ("file", "values", "field"),
    [
        ("config.json", {"layer_norm_eps": 1e-5}, "config_sha256"),
        ("tokenizer_config.json", {"do_lower_case": False}, "tokenizer_sha256"),
        ("1_Pooling/config.json", {"pooling_mode": "cls"}, "pooling"),
        ("sentence_bert_config.json", {"max_seq_length": 16}, "max_tokens"),
    ],
)
def test_whatever_changes_features_changes_the_fingerprint(opened, folder, file, values, field):
    """Configuration, tokenizer, pooling and length each are part of what a backbone is known by."""
    before = opened()
    edit(folder / file, **values)
    after = opened()

    assert getattr(after, field) != getattr(before, field)
    assert after.fingerprint != before.fingerprint


def test_a_note_of_the_library_changes_no_hash(opened, folder):
    """Saving the same model with another version of transformers leaves the configuration's hash."""
    before = opened()
    edit(folder / "config.json", transformers_version="4.0.0", dtype="bfloat16", _name_or_path="elsewhere")

    assert opened().fingerprint == before.fingerprint


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": ["mean"]}, "mean"),
    ],
)
def test_pooling_is_what_the_folder_says(opened, folder, given, expected):
    """Both spellings of sentence-transformers' file are read."""
    edit(folder / "1_Pooling" / "config.json", **given)

    assert opened().pooling == expected


@pytest.mark.parametrize("given", [{"pooling_mode": "max"}, {"pooling_mode_max_tokens": True}])
def test_other_pooling_is_refused(opened, folder, given):
    """A pooling that is not at hand is no reason to take another in silence."""
    edit(folder / "1_Pooling" / "config.json", **given)

    with pytest.raises(BackboneError, match=r"pools by max; mean, cls and lasttoken are at hand"):
        opened()


def test_lengths(opened, folder):
    """The study's limit holds up to the position table; without one the folder's own advice holds."""
    edit(folder / "sentence_bert_config.json", max_seq_length=32)

    assert [opened(max_tokens=n).max_tokens for n in (None, 8, 48, 4096)] == [32, 8, 48, 64]


def test_positions_that_are_never_used_do_not_count(tmp_path, home):
    """RoBERTa counts from the padding's number plus one: of a table of 65 with padding 0, 64 positions are left."""
    folder = tiny_encoder(tmp_path / "roberta", architecture="roberta").folder
    spec = BackboneSpec(name="mine", source="roberta", max_tokens=4096)

    assert json.loads((folder / "config.json").read_text())["max_position_embeddings"] == 65
    assert open_backbone(spec, base=tmp_path, home=home).max_tokens == 64


def test_the_card_names_the_licence(opened, folder):
    """Without a line in our table the model card's front matter is believed, and only that."""
    (folder / "README.md").write_text("---\ntags: [a]\nlicense: apache-2.0\n---\nlicense: none\n")

    assert opened().licence == "apache-2.0"


def test_shards_are_one_model(tmp_path, home):
    """Weights in several files are all hashed and all loaded."""
    from tunewise.backbones.loading import load_trunk

    whole = tiny_encoder(tmp_path / "whole")
    trunk = load_trunk(whole)
    shards = tmp_path / "shards"
    trunk.save_pretrained(shards, max_shard_size="40KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (shards / name).write_bytes((whole.folder / name).read_bytes())
    spec = BackboneSpec(name="shards", source="shards")
    backbone = open_backbone(spec, base=tmp_path, home=home)

    assert len(list(shards.glob("*.safetensors"))) > 1
    assert backbone.n_parameters == whole.n_parameters
    for name, tensor in load_trunk(backbone).state_dict().items():
        assert torch.equal(tensor, trunk.state_dict()[name])

    next(shards.glob("model-*.safetensors")).unlink()
    with pytest.raises(BackboneError, match=r"lists model-.*safetensors, which is not there. Fetch the model again"):
        open_backbone(spec, base=tmp_path, home=home)


def replace_weights(folder, name):
    """Put a file of another format where the weights were."""
    (folder / "model.safetensors").unlink()
    if name:
        (folder / name).write_bytes(b"never read")


REFUSALS = {
    "no configuration": (lambda f: (f / "config.json").unlink(), r"holds no config.json, so it is no model folder"),
    "broken configuration": (lambda f: (f / "config.json").write_text("{"), r"config.json is no readable JSON"),
    "pickle": (lambda f: replace_weights(f, "pytorch_model.bin"), r"as a pickle \(pytorch_model.bin\).*save_pretrained"),
    "no weights": (lambda f: replace_weights(f, ""), r"holds no model.safetensors. Convert the weights"),
    "code": (lambda f: edit(f / "config.json", auto_map={"AutoModel": "x.Y"}), r"config.json has an auto_map.*never run here"),
    "tokenizer code": (lambda f: edit(f / "tokenizer_config.json", auto_map={}), r"tokenizer_config.json has an auto_map"),
    "quantised": (lambda f: edit(f / "config.json", quantization_config={"bits": 4}), r"quantised weights.*Use the model it was"),
    "unknown": (
        lambda f: edit(f / "config.json", model_type="berd"),
        r"model_type='berd', which transformers .* near are .*bert",
    ),
    "unnamed": (lambda f: edit(f / "config.json", model_type=None), r"model_type=None, which transformers"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), r"holds no tokenizer: none of tokenizer.json, vocab.txt"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_refused_is_named_with_its_remedy(opened, folder, name):
    """Each unusable folder is refused when it is opened, before any of it is loaded."""
    spoil, message = REFUSALS[name]
    spoil(folder)

    with pytest.raises(BackboneError, match=message):
        opened()


def test_the_wrong_kind_is_named(opened):
    """An encoder declared as a decoder is refused with the line to write."""
    with pytest.raises(
        BackboneError, match=r"mine was declared as kind: decoder.*holds a bert, which is an encoder. Write kind: e"
    ):
        opened(kind="decoder")


def test_a_decoder_is_no_encoder(tmp_path, home):
    """A causal language model declared as an encoder is refused; as a decoder its last position is pooled."""
    tiny_decoder(tmp_path / "model")
    with pytest.raises(BackboneError, match=r"holds a llama, which is a decoder. Write kind: decoder"):
        open_backbone(BackboneSpec(name="mine", source="model"), base=tmp_path, home=home)

    assert open_backbone(BackboneSpec(name="mine", source="model", kind="decoder"), base=tmp_path, home=home).pooling == "last"


def test_encoder_decoders_have_no_place(opened, folder):
    """T5 is refused under either kind, although its file does not say that it has two halves."""
    t5 = {"model_type": "t5", "d_model": 32, "num_layers": 2, "vocab_size": 100}
    (folder / "config.json").write_text(json.dumps(t5))

    with pytest.raises(BackboneError, match=r"holds a t5, which is an encoder-decoder. Use an encoder"):
        opened()


def test_models_of_other_things_have_no_place(opened, folder):
    """A model of pictures is neither an encoder nor a decoder of text."""
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))

    with pytest.raises(BackboneError, match=r"holds a vit, which is neither. Use an encoder"):
        opened()


def test_a_configuration_that_cannot_be_built_is_named(opened, folder):
    """What transformers trips over is told with the file that says it."""
    edit(folder / "config.json", num_attention_heads=5)

    with pytest.raises(
        BackboneError, match=r"cannot build the bert that .*config.json describes: .*attention heads.*Use another"
    ):
        opened()


@pytest.mark.real
def test_the_embedded_encoder(real_home):
    """The archive holds all-MiniLM-L6-v2: its published hash, size, pooling, length and licence."""
    backbone = open_backbone(BackboneSpec(name="minilm", source="archive:minilm"), base=Path(), home=real_home)

    assert backbone.weights_sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert (backbone.n_parameters, backbone.max_tokens) == (22_565_376, 256)
    assert (backbone.pooling, backbone.licence) == ("mean", "Apache-2.0")
