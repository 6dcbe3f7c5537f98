"""Fine-tuning II: every weight moves, and what is stored is the whole model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tunewise.backbones.loading import load_trunk
from tunewise.contracts import Device
from tunewise.methods.finetune.all_layers import METHOD, AllLayersSettings, fit, load, shares
from tunewise.rng import Rng
from tunewise.testing import CPU, Toy, tiny_decoder, toy_inputs
from tunewise.training.batches import encode
from tunewise.training.classifier import Classifier, OutputLayers, new_classifier, probabilities
from tunewise.training.optimizer import adamw

QUICK = AllLayersSettings(min_steps=12, learning_rate=1e-3)
KINDS = [("encoder", "bert"), ("encoder", "distilbert"), ("encoder", "roberta"), ("encoder", "modernbert")]
KINDS += [("decoder", "llama"), ("decoder", "qwen2"), ("decoder", "gpt2")]


@pytest.fixture
def inputs(tmp_path):
    """Return two epochs on a toy task."""
    return toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(epochs=2))


def saved(predictor, folder):
    """Save into a new folder and return it."""
    folder.mkdir()
    predictor.save(folder)
    return folder


@pytest.mark.parametrize(("kind", "architecture"), KINDS)
def test_every_weight_moves(tmp_path, kind, architecture):
    """Each tensor of the trunk differs from the backbone's, and the stored ones are the trained ones."""
    inputs = toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(kind=kind, architecture=architecture, epochs=1))
    predictor = fit(inputs, QUICK, rng=Rng(0))
    before = load_trunk(inputs.runtime.backbone).state_dict()
    after = {name.removeprefix("trunk."): tensor for name, tensor in predictor.kept.tensors.items()}

    assert before.keys() == after.keys() - {"head.1.weight", "head.1.bias"}
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    assert predictor.n_trained_parameters == predictor.n_total_parameters
    assert predictor.n_trained_parameters == sum(tensor.numel() for tensor in before.values()) + 32 * 2 + 2


def test_it_learns_the_class_words(inputs):
    """Far above chance on development rows, on a backbone of random weights."""
    answers = fit(inputs, AllLayersSettings(learning_rate=1e-3, min_steps=80), rng=Rng(0)).predict(inputs.development.texts)

    assert (answers.argmax(1) == inputs.development.labels).mean() > 0.85


def test_pairs_are_read_with_their_sides(tmp_path):
    """Pairs train, and the answer depends on the second side too."""
    inputs = toy_inputs(tmp_path, needs=METHOD.needs, toy=Toy(pairs=True, epochs=1))
    predictor = fit(inputs, QUICK, rng=Rng(0))
    (first, second), (_, other) = inputs.development.texts[:2]

    assert not np.array_equal(predictor.predict([(first, second)]), predictor.predict([(first, other)]))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_same_seed_same_answers_and_saved_ones_too(inputs, tmp_path, dtype):
    """Bit for bit, also after a save and a load; another seed differs."""
    inputs = replace(inputs, runtime=replace(inputs.runtime, device=Device("cpu", dtype, 1)))
    first, second, other = (fit(inputs, QUICK, rng=Rng(seed)) for seed in (0, 0, 1))
    loaded = load(saved(first, tmp_path / "saved"), inputs.runtime)
    texts = inputs.development.texts

    assert np.array_equal(first.predict(texts), second.predict(texts))
    assert np.array_equal(first.predict(texts), loaded.predict(texts))
    assert not np.array_equal(first.predict(texts), other.predict(texts))
    assert loaded.chosen == first.chosen
    assert loaded.n_total_parameters == first.n_total_parameters


def test_rounding_once_is_rounding_each_time(inputs):
    """In bfloat16 the answers are, bit for bit, those of the float32 weights rounded in every forward pass."""
    inputs = replace(inputs, runtime=replace(inputs.runtime, device=Device("cpu", "bfloat16", 1)))
    predictor = fit(inputs, QUICK, rng=Rng(0))
    backbone = inputs.runtime.backbone
    plain = Classifier(load_trunk(backbone), OutputLayers(32, (), 2, 0.0), backbone, inputs.runtime.device)
    plain.load_state_dict(predictor.kept.tensors)
    texts = inputs.development.texts
    expected = probabilities(plain.eval(), encode(predictor.tokenizer, texts), 2)

    assert predictor.classifier.pretrained.encoder.layer[0].output.dense.weight.dtype == torch.bfloat16
    assert np.array_equal(predictor.predict(texts), expected)


def test_frozen_token_embeddings_stay(inputs, tmp_path):
    """The table is neither moved nor counted nor stored, and comes from the backbone when loading."""
    predictor = fit(inputs, QUICK.model_copy(update={"freeze_embeddings": True}), rng=Rng(0))
    table = load_trunk(inputs.runtime.backbone).get_input_embeddings().weight
    loaded = load(saved(predictor, tmp_path / "saved"), inputs.runtime)
    texts = inputs.development.texts

    assert torch.equal(predictor.classifier.pretrained.get_input_embeddings().weight, table)
    assert predictor.n_total_parameters - predictor.n_trained_parameters == table.numel()
    assert not [name for name in predictor.kept.tensors if "word_embeddings" in name]
    assert np.array_equal(predictor.predict(texts), loaded.predict(texts))


def test_scoring_stops_the_clock(inputs):
    """Libraries, looking for a checkpoint, then each of the two scored epochs."""
    fit(inputs, AllLayersSettings(), rng=Rng(0))

    assert inputs.monitor.n_untimed == 4
    assert inputs.monitor.stages[-1][0] == "training"
    assert inputs.monitor.stages[-1][1] == inputs.monitor.stages[-1][2] >= 40


def test_no_text_gives_no_row(inputs):
    """An empty table is answered with an empty one of the right width."""
    assert fit(inputs, QUICK, rng=Rng(0)).predict([]).shape == (0, 2)


def test_lower_blocks_take_smaller_steps(tmp_path):
    """With two blocks and a decay of 1/2: norm above and top block 1, the block below 1/2, embeddings 1/4."""
    with Rng(0).torch():
        classifier = new_classifier(tiny_decoder(tmp_path), 2, CPU, dropout=0.0)
    share = shares(classifier, 0.5)
    names = ("norm.weight", "layers.1.mlp.up_proj.weight", "layers.0.mlp.up_proj.weight", "embed_tokens.weight")
    groups = adamw([(classifier.trunk, lambda name: 0.1 * share(name)), (classifier.head, 3.0)], 0.01).param_groups
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    parameters = dict(classifier.trunk.named_parameters())

    assert [share(name) for name in names] == [1.0, 1.0, 0.5, 0.25]
    assert [rates[id(parameters[name])] for name in names] == [0.1, 0.1, 0.05, 0.025]
    assert {rates[id(parameter)] for parameter in classifier.head.parameters()} == {3.0}
    assert len(rates) == len(list(classifier.parameters()))


def test_a_decay_of_layers_moves_lower_ones_less(inputs):
    """Block 0 ends nearer to the backbone than with one step size for all."""
    before = load_trunk(inputs.runtime.backbone).state_dict()["encoder.layer.0.output.dense.weight"]
    name = "trunk.encoder.layer.0.output.dense.weight"
    even, graded = (
        fit(inputs, QUICK.model_copy(update={"layer_decay": decay}), rng=Rng(0)).kept.tensors[name] for decay in (1.0, 0.1)
    )

    assert 0 < (graded - before).norm() < 0.3 * (even - before).norm()
