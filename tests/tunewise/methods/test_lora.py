"""LoRA: what is added is B @ A at its scale, what is frozen stays, what is stored is small."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from tunewise.backbones.loading import load_trunk
from tunewise.contracts import Device
from tunewise.errors import SettingsError
from tunewise.methods.peft.lora import METHOD, LoraSettings, fit, in_top_blocks, load, target_layers, wrap
from tunewise.rng import Rng
from tunewise.testing import CPU, Toy, tiny_decoder, tiny_encoder, toy_inputs
from tunewise.training.classifier import new_classifier
from tunewise.training.installing import merge_peft

QUICK = LoraSettings(min_steps=12, rank=4, alpha=6.0)
PLAIN = {"rank": 4, "alpha": 6.0, "use_rslora": False, "use_dora": False}
BATCH = {"input_ids": torch.tensor([[2, 9, 3, 0], [2, 9, 9, 3]]), "attention_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])}


@pytest.fixture
def inputs(tmp_path):
    """Return two epochs on a toy task."""
    return toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(epochs=2))


def classifier_of(backbone):
    """Return the backbone with a new output layer, the same each time."""
    with Rng(0).torch():
        return new_classifier(backbone, 2, CPU, dropout=0.0).eval()


def test_step_zero_is_the_backbone(tmp_path):
    """With B = 0 the wrapped model returns the backbone's scores bit for bit."""
    backbone = tiny_encoder(tmp_path)
    plain, wrapped = classifier_of(backbone), classifier_of(backbone)
    with Rng(1).torch():
        wrap(wrapped, {**PLAIN, "layers": target_layers(wrapped, backbone, None)})

    assert torch.equal(plain(BATCH), wrapped.eval()(BATCH))


def test_the_merged_weights_are_the_formula(inputs):
    """Each target became W + (alpha / rank) * B @ A from the stored A and B; every other weight is the backbone's."""
    predictor = fit(inputs, QUICK, rng=Rng(0))
    before = load_trunk(inputs.runtime.backbone).state_dict()
    after = predictor.classifier.trunk.state_dict()
    stored = {name.removeprefix("trunk.base_model.model."): tensor for name, tensor in predictor.kept.tensors.items()}
    targets = [name for name in before if name.endswith(("query.weight", "value.weight"))]

    assert len(targets) == 4
    for name in targets:
        a, b = (stored[name.replace("weight", f"lora_{which}.default.weight")] for which in "AB")
        assert (a.shape, b.shape) == ((4, 32), (32, 4))
        assert torch.allclose(after[name], before[name] + 6.0 / 4 * b @ a, atol=1e-6)
        assert not torch.equal(after[name], before[name])
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before if name not in targets)


@pytest.mark.parametrize("tiny", [tiny_encoder, tiny_decoder])
def test_merged_equals_unmerged(tmp_path, tiny):
    """Adding the update into the layer changes no score by more than rounding."""
    backbone = tiny(tmp_path)
    classifier = classifier_of(backbone)
    with Rng(1).torch():
        wrap(classifier, {**PLAIN, "layers": target_layers(classifier, backbone, None)})
        for name, parameter in classifier.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    unmerged = classifier.eval()(BATCH)
    merge_peft(classifier)

    assert torch.allclose(classifier.eval()(BATCH), unmerged, atol=1e-5)
    assert not torch.allclose(classifier_of(backbone)(BATCH), unmerged, atol=1e-3)


def test_trained_numbers_by_hand(inputs):
    """Rank 4 beside 2 targets of 32 x 32 in 2 layers, and an output layer of 32 x 2 with its bias."""
    predictor = fit(inputs, QUICK, rng=Rng(0))
    n = 2 * 2 * 4 * (32 + 32) + 32 * 2 + 2

    assert predictor.n_trained_parameters == n
    assert predictor.n_total_parameters == n + sum(p.numel() for p in load_trunk(inputs.runtime.backbone).parameters())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_same_seed_same_answers_and_saved_ones_too(inputs, tmp_path, dtype):
    """Bit for bit, also after a save of a few kilobytes and a load; another seed differs."""
    inputs = replace(inputs, runtime=replace(inputs.runtime, device=Device("cpu", dtype, 1)))
    first, second, other = (fit(inputs, QUICK, rng=Rng(seed)) for seed in (0, 0, 1))
    folder = tmp_path / "saved"
    folder.mkdir()
    first.save(folder)
    loaded = load(folder, inputs.runtime)
    texts = inputs.development.texts

    assert np.array_equal(first.predict(texts), second.predict(texts))
    assert np.array_equal(first.predict(texts), loaded.predict(texts))
    assert not np.array_equal(first.predict(texts), other.predict(texts))
    assert loaded.chosen == first.chosen
    assert sum(file.stat().st_size for file in folder.iterdir()) < 8_000


def test_it_learns_the_class_words(inputs):
    """Far above chance on development rows, on a backbone of random weights."""
    answers = fit(inputs, LoraSettings(min_steps=80), rng=Rng(0)).predict(inputs.development.texts)

    assert (answers.argmax(1) == inputs.development.labels).mean() > 0.85


@pytest.mark.parametrize(
    ("tiny", "architecture", "expected"),
    [
        (tiny_encoder, "bert", {"query", "value"}),
        (tiny_encoder, "distilbert", {"q_lin", "v_lin"}),
        (tiny_encoder, "modernbert", {"Wqkv"}),
        (tiny_decoder, "llama", {"q_proj", "v_proj"}),
        (tiny_decoder, "gpt2", {"c_attn"}),
    ],
)
def test_query_and_value_are_found_under_any_name(tmp_path, architecture, tiny, expected):
    """Without targets each architecture's own names are used, in both of its layers."""
    backbone = tiny(tmp_path, architecture=architecture)
    found = target_layers(classifier_of(backbone), backbone, None)

    assert {name.rpartition(".")[2] for name in found} == expected
    assert len(found) == 2 * len(expected)


def test_an_ending_may_hold_several_names(tmp_path):
    """`attention.output.dense` is not `output.dense` of the feed-forward block."""
    backbone = tiny_encoder(tmp_path)
    found = target_layers(classifier_of(backbone), backbone, ["attention.output.dense"])

    assert found == [f"encoder.layer.{i}.attention.output.dense" for i in (0, 1)]


def test_unknown_targets_are_answered_with_the_choices(inputs):
    """The error names what was given and what would have worked."""
    with pytest.raises(SettingsError, match=r"targets=\['qry'\].*'query', 'value'.*leave targets out"):
        fit(inputs, LoraSettings(targets=["qry"]), rng=Rng(0))


def test_one_wrong_target_among_right_ones_is_named(inputs):
    """A misspelt name beside a right one would otherwise train half of what was asked."""
    with pytest.raises(SettingsError, match=r"targets=\['query', 'valu'\].*: 'valu'"):
        fit(inputs, LoraSettings(targets=["query", "valu"]), rng=Rng(0))


def test_nothing_is_warned_of(tmp_path):
    """Wrapping is quiet: a warning that no user can act on hides those one can."""
    backbone = tiny_decoder(tmp_path, architecture="gpt2")
    classifier = classifier_of(backbone)
    with warnings.catch_warnings(), Rng(0).torch():
        warnings.simplefilter("error")
        wrap(classifier, {**PLAIN, "layers": target_layers(classifier, backbone, None)})


def updated(backbone, shape):
    """Return the first query weight, ``A``, ``B`` and the merged weight, after ``B`` was given values."""
    classifier = classifier_of(backbone)
    layers = target_layers(classifier, backbone, ["query"])
    before = classifier.trunk.get_submodule(layers[0]).weight.detach().clone()
    with Rng(1).torch(), torch.no_grad():
        wrap(classifier, {**PLAIN, **shape, "layers": layers})
        parts = dict(classifier.trunk.base_model.model.get_submodule(layers[0]).named_parameters())
        parts["lora_B.default.weight"].normal_()
    unmerged = classifier.eval()(BATCH)
    merge_peft(classifier)
    assert torch.allclose(classifier.eval()(BATCH), unmerged, atol=1e-5)
    a, b = (parts[f"lora_{which}.default.weight"].detach() for which in "AB")
    return before, a, b, classifier.trunk.get_submodule(layers[0]).weight


def test_rank_stabilised_scaling(tmp_path):
    """The update is alpha / sqrt(rank) times B @ A: at rank 4 and alpha 6, three times."""
    before, a, b, after = updated(tiny_encoder(tmp_path), {"use_rslora": True})

    assert torch.allclose(after, before + 3.0 * b @ a, atol=1e-5)


def test_dora_keeps_the_lengths_of_rows_until_they_are_trained(tmp_path):
    """Untrained lengths are those of W, whatever B is: V = W + scale B A gives rows |W| V / |V|."""
    before, a, b, after = updated(tiny_encoder(tmp_path), {"use_dora": True})
    updated_weight = before + 6.0 / 4 * b @ a
    lengths = before.norm(dim=1, keepdim=True)

    assert torch.allclose(after, lengths * updated_weight / updated_weight.norm(dim=1, keepdim=True), atol=1e-5)
    assert torch.allclose(after.norm(dim=1, keepdim=True), lengths, atol=1e-5)


def test_three_hundred_and_seventy_five_numbers():
    """A layer of 25 x 50 at rank 5 trains 5 x 25 + 50 x 5 = 375 numbers instead of 1,250."""
    from peft import LoraConfig, get_peft_model

    model = torch.nn.Sequential(torch.nn.Linear(25, 50, bias=False))
    wrapped = get_peft_model(model, LoraConfig(r=5, target_modules=["0"]))

    assert sum(parameter.numel() for parameter in wrapped.parameters() if parameter.requires_grad) == 375


def test_blocks_limit_it_to_the_top(inputs):
    """One block of two halves the update; what is wrapped lies in the upper one."""
    whole, top = (fit(inputs, QUICK.model_copy(update={"blocks": blocks}), rng=Rng(0)) for blocks in (None, 1))

    assert whole.n_trained_parameters - 66 == 2 * (top.n_trained_parameters - 66)
    assert all(".1." in name for name in top.kept.shape["layers"])


def test_targets_below_the_chosen_blocks_are_refused(tmp_path):
    """The error names targets and blocks."""
    backbone = tiny_encoder(tmp_path)
    with pytest.raises(SettingsError, match=r"encoder.layer.0.attention.self.query lies in the top blocks=1"):
        in_top_blocks(classifier_of(backbone), ["encoder.layer.0.attention.self.query"], 1)
