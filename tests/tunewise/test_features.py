"""Features are charged to a fit at the pace they were measured at, whoever computed them."""

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tunewise.contracts import Backbone, Device
from tunewise.effort import affordable
from tunewise.features import Pace, compute_features
from tunewise.testing import toy_split

CPU = Device("cpu", "float32", 1)
SPLIT = toy_split()


@pytest.fixture
def backbone(tmp_path):
    """A backbone that nothing opens."""
    return Backbone("tiny", tmp_path, "encoder", "w", "c", "t", "bert", 32, 2, 1_000, 64, "mean", "CC0-1.0")


@pytest.fixture
def fake(monkeypatch):
    """Let features come from an embedder that takes 2 seconds per computed text, and tells what it was given."""
    embedder = FakeEmbedder()
    monkeypatch.setattr("tunewise.features.code_sha256", lambda *_: "code")
    monkeypatch.setattr("tunewise.features.embedder_for", lambda *_: embedder)
    return embedder


class FakeEmbedder:
    """Keeps what it has seen, as a cache does."""

    def __init__(self):
        self.known, self.uncached_texts, self.last = set(), [], None

    def __call__(self, texts):
        """Note the texts that are new."""
        fresh = set(texts) - self.known
        self.known |= fresh
        self.last = SimpleNamespace(n_reused=len(texts) - len(fresh), n_computed=len(fresh), n_tokens=0, seconds=2.0 * len(fresh))
        return np.zeros((len(texts), 2))

    def uncached(self, texts):
        """Take a while."""
        self.uncached_texts.append(len(texts))
        time.sleep(0.01)
        return np.zeros((len(texts), 2))


def characters(*parts):
    """Return how many characters these parts have."""
    return sum(len(text) for part in parts for text in part.texts)


def test_training_and_development_rows_are_charged_by_their_characters(home, backbone, fake):
    """240 texts took 480 s; the test rows' share of the characters is not the fit's."""
    report = compute_features(SPLIT, backbone, CPU, home=home)
    share = characters(SPLIT.train, SPLIT.development) / characters(SPLIT.train, SPLIT.development, SPLIT.test)

    assert (report.n_computed, report.n_reused, report.seconds) == (240, 0, 480)
    assert report.fit_seconds == pytest.approx(480 * share)


def test_reused_features_cost_what_they_cost(home, backbone, fake):
    """The second time nothing is computed, and a fit is charged the same."""
    first = compute_features(SPLIT, backbone, CPU, home=home)
    second = compute_features(SPLIT, backbone, CPU, home=home)

    assert (second.n_computed, second.n_reused) == (0, 240)
    assert second.fit_seconds == first.fit_seconds
    assert fake.uncached_texts == []


def test_a_filled_cache_without_a_pace_is_measured(home, backbone, fake):
    """Where someone else filled the cache, some texts are embedded anew to learn the pace, once."""
    fake([*SPLIT.train.texts, *SPLIT.development.texts, *SPLIT.test.texts])
    first = compute_features(SPLIT, backbone, CPU, home=home)
    second = compute_features(SPLIT, backbone, CPU, home=home)

    assert fake.uncached_texts == [32, 240]
    assert 0.005 < first.fit_seconds == second.fit_seconds


def test_only_affordable_rows_are_embedded(home, backbone, fake):
    """A budget of 20 training rows embeds 20 of them, with all development and test rows, and charges these."""
    report = compute_features(SPLIT, backbone, CPU, home=home, max_train_rows=20)
    train = affordable(SPLIT.train, 20)
    share = characters(train, SPLIT.development) / characters(train, SPLIT.development, SPLIT.test)

    assert report.n_computed == 20 + 48 + 48
    assert report.fit_seconds == pytest.approx(2 * 116 * share)


def test_a_text_that_stands_twice_is_computed_once(home, backbone, fake):
    """Repeated texts do not pass for reused ones, so the computation is still seen to be a whole one."""
    split = replace(SPLIT, test=SPLIT.train)
    report = compute_features(split, backbone, CPU, home=home)

    assert (report.n_computed, report.n_reused) == (192, 0)
    assert report.fit_seconds == 384
    assert fake.uncached_texts == []


def test_a_pair_has_the_characters_of_both():
    """At 10 s for 5 characters, a pair of 2 and 3 characters takes 10 s."""
    assert Pace(10.0, 1, 5).seconds_of([("ab", "cde")]) == 10.0
