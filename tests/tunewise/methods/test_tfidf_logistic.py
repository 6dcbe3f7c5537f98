"""TF-IDF: terms and weights by hand, pairs, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from tunewise.contracts import Part
from tunewise.errors import FitError
from tunewise.methods.baselines.tfidf_logistic import TfidfLogisticSettings, fit, terms_of
from tunewise.rng import Rng
from tunewise.testing import Toy, toy_inputs


def inputs_with(tmp_path, texts, labels):
    """Return inputs whose training and development rows are these texts."""
    part = Part(tuple(str(i) for i in range(len(texts))), tuple(texts), np.array(labels))
    return replace(toy_inputs(tmp_path), train=part, development=part)


def test_terms_are_words_and_neighbours():
    """Case and punctuation are folded; a single letter is a word."""
    assert terms_of("A good, GOOD film!") == ["a", "good", "good", "film", "a good", "good good", "good film"]


def test_sides_of_a_pair_have_terms_of_their_own():
    """The same word means something else in the second text, and no term spans both."""
    assert terms_of(("Is it", "it is")) == ["is", "it", "is it", "\tit", "\tis", "\tit is"]


def test_weights_by_hand(tmp_path):
    """Two texts: "a" stands in both, "b" three times in one. idf is 1 and log(3/2) + 1, b's count 1 + log 3; length 1."""
    inputs = inputs_with(tmp_path, ["a b b b", "a"], [0, 1])
    predictor = fit(inputs, TfidfLogisticSettings(min_texts=1, c=[1.0]), rng=Rng(0))
    terms = list(predictor.vectorizer.get_feature_names_out())
    row = predictor.vectorizer.transform(["a b b b"]).toarray()[0]

    once = np.log(3 / 2) + 1
    values = {"a": 1.0, "b": (1 + np.log(3)) * once, "a b": once, "b b": (1 + np.log(2)) * once}
    length = np.sqrt(sum(value**2 for value in values.values()))
    assert {term: row[i] for i, term in enumerate(terms)} == pytest.approx({term: v / length for term, v in values.items()})


def test_many_classes_get_fewer_terms(tmp_path):
    """Two hundred weights for four classes are at most fifty terms."""
    inputs = toy_inputs(tmp_path, toy=Toy(n_classes=4))
    predictor = fit(inputs, TfidfLogisticSettings(max_weights=200, c=[1.0]), rng=Rng(0))

    assert len(predictor.vectorizer.idf_) == 50
    assert predictor.n_trained_parameters == 4 * 50 + 4 + 50


def test_texts_without_a_common_word_are_refused(tmp_path):
    """The error says what the setting asked for and what to do."""
    inputs = inputs_with(tmp_path, ["one", "two"], [0, 1])

    with pytest.raises(FitError, match=r"No word stands in min_texts=2 or more of the 2 training texts.*Use min_texts: 1"):
        fit(inputs, TfidfLogisticSettings(), rng=Rng(0))
