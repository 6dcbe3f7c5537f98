"""What every trained method promises on every shape of backbone there is, on tiny random ones.

A few steps each: that it can be built, that what is trained moves and the rest does not, and that what is stored
answers as what was fitted. That it learns is held in `test_methods`.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from tunewise.contracts import Device, Need
from tunewise.methods import catalogue
from tunewise.rng import Rng
from tunewise.testing import RecordingMonitor, Toy, tiny_decoder, tiny_encoder, toy_inputs
from tunewise.training import checkpoint
from tunewise.training.seen_tokens import SeenRows
from tunewise.training.settings import TrunkSettings

ENCODERS = ("bert", "distilbert", "roberta", "modernbert", "deberta-v2")
DECODERS = ("llama", "qwen2", "qwen3", "gemma", "gemma3_text", "gpt2")
METHODS = [name for name, method in catalogue().items() if issubclass(method.settings, TrunkSettings)]
SHAPES = [*ENCODERS, *DECODERS]
VARIANTS = [
    *((name, {}) for name in METHODS),
    ("lora", {"use_dora": True}),
    ("lora", {"use_rslora": True, "blocks": 1}),
    ("adapter", {"places": "feed_forward", "train_norms": True, "blocks": 1}),
    ("bitfit", {"biases": "query_and_feed_forward"}),
    ("prefix", {"mid_dim": 16}),
    ("soft_prompt", {"pooled": "all", "positions": "shifted", "init": "random"}),
]


@pytest.fixture(scope="module")
def inputs_of(tmp_path_factory):
    """Return what makes inputs of 24 training rows on a tiny backbone, which is written once."""
    folder = tmp_path_factory.mktemp("shapes")

    @cache
    def backbone_of(architecture):
        return (tiny_encoder if architecture in ENCODERS else tiny_decoder)(folder / architecture, architecture=architecture)

    def make(architecture):
        return toy_inputs(folder, needs=frozenset({Need.TRUNK}), toy=Toy(n=40, epochs=1), backbone=backbone_of(architecture))

    return make


@pytest.fixture(autouse=True)
def _one_thread():
    """Bit-equality is promised for a fixed number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def moves(monkeypatch):
    """Return, once a method was fitted, which parameters it held while training, were to move, and did."""
    found = {}

    def spying(train):
        def spy(module, *args):
            whole = {f"{name}.full.weight" for name, part in module.named_modules() if isinstance(part, SeenRows)}
            before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
            epoch = train(module, *args)
            for name, parameter in module.named_parameters():
                if name not in whole:
                    found[name] = (parameter.requires_grad, not torch.equal(parameter, before[name]))
            return epoch

        return spy

    for module in ("fitting", "contrastive"):
        name = f"tunewise.training.{module}.train"
        monkeypatch.setattr(name, spying(__import__("tunewise.training.loop", fromlist=["train"]).train))
    return found


def settings_of(name, changed):
    """Return settings that take three steps, each large enough to be seen."""
    return catalogue()[name].settings(**{"min_steps": 3, "batch_size": 8, "dropout": 0.0, "warmup_share": 0.0, **changed})


def id_of(value):
    """Return a readable name of a variant."""
    return "-".join([value[0], *value[1]]) if isinstance(value, tuple) else value


@pytest.mark.parametrize("architecture", SHAPES)
@pytest.mark.parametrize("variant", VARIANTS, ids=id_of)
def test_what_is_trained_moves_and_what_is_stored_answers(inputs_of, moves, tmp_path, variant, architecture):
    """Frozen weights stay bit for bit, every trained one moves, and the loaded predictor answers as the fitted one."""
    name, changed = variant
    method, inputs = catalogue()[name], inputs_of(architecture)
    predictor = method.fit(inputs, settings_of(name, changed), rng=Rng(0))
    predictor.save(tmp_path)
    loaded = method.load(tmp_path, inputs.runtime)
    texts = [*inputs.development.texts, "", "word " * 200]
    answers = predictor.predict(texts)

    assert [name for name, (is_trained, has_moved) in moves.items() if is_trained and not has_moved] == []
    # An output layer that is computed, not trained, changes all the same.
    assert [name for name, (is_trained, has_moved) in moves.items() if has_moved and not is_trained and "head." not in name] == []
    assert any(is_trained for is_trained, _ in moves.values())
    assert np.isfinite(answers).all()
    assert np.array_equal(answers, loaded.predict(texts))
    assert loaded.n_trained_parameters == predictor.n_trained_parameters
    assert isinstance(inputs.monitor, RecordingMonitor)


@pytest.mark.parametrize("architecture", ["deberta-v2", "gpt2"])
@pytest.mark.parametrize("variant", VARIANTS, ids=id_of)
def test_rounding_is_the_same_before_and_after_storing(inputs_of, tmp_path, variant, architecture):
    """In bfloat16, too, the loaded predictor answers as the fitted one, bit for bit."""
    name, changed = variant
    method, inputs = catalogue()[name], inputs_of(architecture)
    inputs = replace(inputs, runtime=replace(inputs.runtime, device=Device("cpu", "bfloat16", 1)))
    predictor = method.fit(inputs, settings_of(name, changed), rng=Rng(0))
    predictor.save(tmp_path)
    texts = [*inputs.development.texts, "", "word " * 200]

    assert np.array_equal(predictor.predict(texts), method.load(tmp_path, inputs.runtime).predict(texts))


class Killed(Exception):  # noqa: N818 - what happens, not what is wrong
    """Stands for the end of the process."""


class Mortal(RecordingMonitor):
    """Ends the process after the fifth step."""

    def progress(self, stage, done, total):
        """See a step."""
        super().progress(stage, done, total)
        if stage == "training" and done == 5:
            raise Killed


@pytest.mark.parametrize("variant", VARIANTS, ids=id_of)
def test_a_killed_fit_ends_as_an_undisturbed_one(inputs_of, monkeypatch, tmp_path, variant):
    """What a method puts in before training is put in again alike, and training goes on from the step it was in."""
    for name in ("STEP_SECONDS", "EPOCH_SECONDS"):
        monkeypatch.setattr(checkpoint, name, 0.0)
    monkeypatch.setattr(checkpoint, "MOST_SHARE", 1e9)
    name, changed = variant
    method, settings = catalogue()[name], settings_of(name, {**changed, "min_steps": 9})
    folders = [tmp_path / "undisturbed", tmp_path / "killed"]
    for folder in folders:
        folder.mkdir()
    inputs = replace(inputs_of("bert"), work=folders[0])
    expected = method.fit(inputs, settings, rng=Rng(0)).predict(inputs.development.texts)
    with pytest.raises(Killed):
        method.fit(replace(inputs, work=folders[1], monitor=Mortal()), settings, rng=Rng(0))
    resumed = RecordingMonitor()
    found = method.fit(replace(inputs, work=folders[1], monitor=resumed), settings, rng=Rng(0))

    assert next(done for stage, done, _ in resumed.stages if stage == "training") == 5
    assert np.array_equal(found.predict(inputs.development.texts), expected)
