"""The toy tasks and tiny backbones that other tests stand on."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tunewise.contracts import Need
from tunewise.testing import CLASS_WORDS, FILLERS, Toy, tiny_decoder, tiny_encoder, toy_inputs, toy_split


def test_no_word_belongs_to_two():
    """Class words and fillers are all different, so nothing but the class words tells the classes apart."""
    words = [*FILLERS, *(word for group in CLASS_WORDS for word in group)]

    assert len(words) == len(set(words)) == 64 + 2 * 128


@pytest.mark.parametrize(("n", "n_classes", "pairs"), [(240, 2, False), (40, 8, True), (385, 77, False)])
def test_every_part_holds_every_class(n, n_classes, pairs):
    """60, 20 and 20 percent, no id twice, each text with words of its own class and of no other."""
    split = toy_split(n, n_classes, pairs=pairs)
    parts = dict(split.parts())

    assert [len(part) for part in parts.values()] == [n * 3 // 5, n // 5, n // 5]
    assert len({name for part in parts.values() for name in part.ids}) == n
    for part in parts.values():
        assert set(part.labels) == set(range(n_classes))
        for text, label in zip(part.texts, part.labels, strict=True):
            assert isinstance(text, tuple) == pairs
            words = set((" ".join(text) if pairs else text).split())
            assert {i for i in range(n_classes) if words & set(CLASS_WORDS[i])} == {label}


def test_a_seed_is_a_task():
    """The same seed gives the same texts and fingerprint, another one others."""
    one, same, other = toy_split(seed=1), toy_split(seed=1), toy_split(seed=2)

    assert one.train.texts == same.train.texts
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert one.train.texts != other.train.texts


def test_too_many_classes_are_refused():
    """The words are for 128 classes."""
    with pytest.raises(ValueError, match="n_classes=129 was given; the toy words serve 2 to 128"):
        toy_split(n_classes=129)


@pytest.mark.parametrize("write", [tiny_encoder, tiny_decoder])
def test_a_seed_is_a_backbone(tmp_path, write):
    """The same seed writes the same weights, another one others."""
    one, same, other = (write(tmp_path / str(i), seed=seed) for i, seed in enumerate((1, 1, 2)))

    assert one.fingerprint == same.fingerprint
    assert one.weights_sha256 != other.weights_sha256


@pytest.mark.parametrize(
    ("kind", "architecture"),
    [("encoder", name) for name in ("bert", "distilbert", "roberta", "modernbert")]
    + [("decoder", name) for name in ("llama", "qwen2", "gpt2")],
)
@pytest.mark.parametrize("pairs", [False, True])
def test_frozen_random_features_learn_the_task(tmp_path, kind, architecture, pairs):
    """A linear classifier on them is right on three of four development texts; chance is one of two."""
    toy = Toy(kind=kind, architecture=architecture, pairs=pairs)
    inputs = toy_inputs(tmp_path, needs=frozenset({Need.EMBEDDINGS}), toy=toy)
    features = inputs.runtime.embed(inputs.train.texts)

    assert features.dtype == np.float32
    assert np.allclose(np.linalg.norm(features, axis=1), 1.0, atol=1e-6)
    model = LogisticRegression(C=10.0, max_iter=1000).fit(features, inputs.train.labels)
    assert model.score(inputs.runtime.embed(inputs.development.texts), inputs.development.labels) > 0.75


def test_many_classes_are_learned_above_chance(tmp_path):
    """Of 77 classes the tiny encoder's features find half of the development texts."""
    inputs = toy_inputs(tmp_path, needs=frozenset({Need.EMBEDDINGS}), toy=Toy(n=770, n_classes=77))
    model = LogisticRegression(C=10.0, max_iter=1000).fit(inputs.runtime.embed(inputs.train.texts), inputs.train.labels)

    assert model.score(inputs.runtime.embed(inputs.development.texts), inputs.development.labels) > 0.5


def test_inputs_offer_only_what_is_needed(tmp_path):
    """A method that declares nothing finds neither backbone nor features."""
    assert toy_inputs(tmp_path / "a").runtime.backbone is None
    trunk = toy_inputs(tmp_path / "b", needs=frozenset({Need.TRUNK}))
    assert trunk.runtime.backbone is not None
    assert trunk.runtime.embed is None


def test_the_monitor_keeps_what_it_is_told(tmp_path):
    """Progress, the curve and stops of the clock can be read by a test."""
    monitor = toy_inputs(tmp_path).monitor
    monitor.progress("fit", 1, 2)
    monitor.record(3, loss=0.5)
    with monitor.untimed():
        pass

    assert (monitor.stages, monitor.curve, monitor.n_untimed) == ([("fit", 1, 2)], [{"step": 3, "loss": 0.5}], 1)
