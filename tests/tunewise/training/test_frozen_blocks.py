"""Frozen blocks are computed once: the same scores and gradients as without, whatever the architecture and the bytes allowed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tunewise.backbones.loading import load_tokenizer
from tunewise.contracts import Device, StateCache, no_progress
from tunewise.rng import Rng
from tunewise.testing import tiny_decoder, tiny_encoder, toy_split
from tunewise.training.batches import collate, encode
from tunewise.training.blocks import blocks_of
from tunewise.training.classifier import new_classifier
from tunewise.training.frozen_blocks import STATES, FrozenBlocks, n_frozen_blocks, states_of

CPU, CPU_BF16 = Device("cpu", "float32", 1), Device("cpu", "bfloat16", 1)
ENCODERS = ("bert", "distilbert", "roberta", "modernbert", "deberta-v2")
DECODERS = ("llama", "qwen2", "gemma", "gpt2")
MUCH = 1 << 30


def with_top_block(backbone, device=CPU, dropout=0.0):
    """Return a classifier of which only the top block and the output layer are trained."""
    with Rng(0).torch():
        classifier = new_classifier(backbone, 2, device, dropout=dropout)
    blocks = blocks_of(classifier.pretrained)
    classifier.trunk.requires_grad_(requires_grad=False)
    classifier.pretrained.get_submodule(blocks.named(blocks.n - 1)).requires_grad_()
    return classifier


def encoded(backbone, n=12):
    """Return tokens of toy texts of several lengths."""
    texts = [text * (1 + i % 3) for i, text in enumerate(toy_split(n).train.texts)]
    return encode(load_tokenizer(backbone), texts)


@pytest.mark.parametrize("architecture", [*ENCODERS, *DECODERS])
def test_scores_and_gradients_are_those_of_the_whole_trunk(architecture, tmp_path):
    """Started from kept states, a step has the scores and the gradients of a step through all blocks."""
    make = tiny_encoder if architecture in ENCODERS else tiny_decoder
    backbone = make(tmp_path / "model", architecture=architecture)
    classifier, texts = with_top_block(backbone), encoded(backbone)
    rows = np.arange(len(texts.lengths))
    whole = classifier(collate(texts, rows, "cpu"))
    whole.square().sum().backward()
    gradients = {name: one.grad.clone() for name, one in classifier.named_parameters() if one.grad is not None}
    classifier.zero_grad()

    frozen = FrozenBlocks(classifier, n_frozen_blocks(classifier.pretrained))
    states = states_of(frozen, texts, backbone, StateCache(tmp_path / "states", MUCH), no_progress)
    with frozen.left_out():
        started = classifier(frozen.batch(texts, states, rows))
        started.square().sum().backward()

    assert frozen.n == blocks_of(classifier.pretrained).n - 1 >= 1
    assert torch.allclose(started, whole, atol=1e-5)
    assert {name for name, one in classifier.named_parameters() if one.grad is not None} == set(gradients)
    for name, one in classifier.named_parameters():
        assert one.grad is None or torch.allclose(one.grad, gradients[name], atol=1e-4), name
    assert torch.equal(classifier(collate(texts, rows, "cpu")), whole), "the trunk is whole again"


@pytest.mark.parametrize("device", [CPU, CPU_BF16])
def test_what_does_not_fit_is_computed(device, tmp_path, caplog):
    """With bytes for some of the texts the others are computed each time, to the same states; the log says how many."""
    backbone = tiny_encoder(tmp_path / "model")
    classifier, texts = with_top_block(backbone, device, dropout=0.5), encoded(backbone)
    rows = np.arange(len(texts.lengths))
    frozen = FrozenBlocks(classifier, 1)
    width = backbone.hidden_size * (2 if device.dtype == "bfloat16" else 4)
    allowed = int(texts.lengths[:3].sum()) * width

    states = states_of(frozen, texts, backbone, StateCache(tmp_path / "states", allowed), no_progress)
    all_kept = states_of(frozen, texts, backbone, StateCache(tmp_path / "more", MUCH), no_progress)
    classifier.train()
    given = [frozen.batch(texts, one, rows) and frozen._given for one in (states, all_kept)]

    assert (states.n_kept, all_kept.n_kept) == (3, len(rows))
    assert f"3 of {len(rows)} texts" in caplog.text
    for i, length in enumerate(texts.lengths):
        assert torch.allclose(given[0][i, :length], given[1][i, :length], atol=3e-2 if device is CPU_BF16 else 1e-5)


def test_states_are_shared_between_fits(tmp_path):
    """The second fit that freezes the same blocks reads the file, another depth does not; the oldest go when bytes run out."""
    backbone = tiny_encoder(tmp_path / "model")
    texts, cache = encoded(backbone), StateCache(tmp_path / "states", MUCH)
    told = []

    def compute(n, cache=cache):
        classifier = with_top_block(backbone)
        return states_of(FrozenBlocks(classifier, n), texts, backbone, cache, lambda *progress: told.append(progress))

    first = compute(1)
    n_told = len(told)
    again = compute(1)

    assert n_told > 0
    assert len(told) == n_told
    assert np.array_equal(first.values, again.values)
    assert len(list(cache.root.glob(f"*/{STATES}"))) == 1
    other = tiny_encoder(tmp_path / "other", seed=1)
    size = first.values.nbytes
    tight = StateCache(cache.root, int(1.5 * size))
    states_of(FrozenBlocks(with_top_block(other), 1), texts, other, tight, no_progress)
    assert len(list(cache.root.glob(f"*/{STATES}"))) == 1


def test_only_what_lies_below_every_trained_layer_is_left_out(tmp_path):
    """A trained embedding, or a trained lowest block, leaves nothing out; a trained top block all that lies below."""
    backbone = tiny_encoder(Path(tmp_path) / "model")
    classifier = with_top_block(backbone)
    model = classifier.pretrained
    assert n_frozen_blocks(model) == blocks_of(model).n - 1
    model.get_input_embeddings().weight.requires_grad_()
    assert n_frozen_blocks(model) == 0
    classifier = with_top_block(backbone)
    classifier.pretrained.get_submodule(blocks_of(classifier.pretrained).named(0)).requires_grad_()
    assert n_frozen_blocks(classifier.pretrained) == 0
