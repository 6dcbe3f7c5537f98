"""Intervals over seeds and texts."""

from math import inf, sqrt

import numpy as np
import pytest
from scipy import stats

from tunewise.errors import DataError
from tunewise.evaluation.intervals import difference, mean_over_seeds


def studies(n_studies, *, n_texts, n_seeds, share, seeds_sd, seed):
    """Yield 0/1 values of studies whose texts differ in difficulty and whose seeds differ in luck; the truth is ``share``."""
    rng = np.random.default_rng(seed)
    for _ in range(n_studies):
        easy = rng.beta(2 * share, 2 * (1 - share), size=n_texts)
        luck = rng.normal(0, seeds_sd, size=(n_seeds, 1))
        lifted = easy + np.where(luck > 0, luck * (1 - easy) / (1 - share), luck * easy / share)
        yield (rng.random((n_seeds, n_texts)) < lifted).astype(float)


def test_two_seeds_and_three_texts_by_hand():
    """111 and 100: s^2/S = 1/9, less r^2/nS = 1/36, is 1/12; t^2/n = 1/36; V = 1/9; df = (1/81) / (1/81 + 1/1296) = 16/17."""
    got = mean_over_seeds(np.array([[1.0, 1, 1], [1, 0, 0]]))

    assert got.value == pytest.approx(2 / 3)
    assert got.seeds_variance == pytest.approx(1 / 12)
    assert got.texts_variance == pytest.approx(1 / 36)
    assert got.seeds_share == pytest.approx(3 / 4)
    assert got.degrees_of_freedom == pytest.approx(16 / 17)
    assert got.high - got.value == pytest.approx(stats.t.ppf(0.975, 16 / 17) / 3)


def test_one_seed_is_the_interval_of_a_mean():
    """Without seeds' chance it is Student's interval of the texts' mean."""
    values = np.random.default_rng(0).normal(size=(1, 40))

    got = mean_over_seeds(values)

    assert (got.low, got.high) == pytest.approx(stats.ttest_1samp(values[0], 0).confidence_interval(0.95))
    assert got.seeds_variance == 0


def test_equal_seeds_add_nothing():
    """A method that ignores its seed has the interval of one seed, however often it is repeated."""
    values = np.random.default_rng(1).random((1, 50))

    one, three = mean_over_seeds(values), mean_over_seeds(np.repeat(values, 3, axis=0))

    assert (three.low, three.high) == pytest.approx((one.low, one.high))


def test_all_right_is_not_certain():
    """Ten of ten right: Wilson's lower end is n / (n + z^2) = 0.722, and the upper end is 1."""
    got = mean_over_seeds(np.ones((3, 10)), is_share=True)

    assert got.low == pytest.approx(10 / (10 + 1.959964**2), abs=1e-6)
    assert got.high == 1.0


def test_a_share_of_one_seed_is_wilsons_interval():
    """With one seed and many texts it is scipy's Wilson interval but for n - 1 in the variance."""
    got = mean_over_seeds(np.repeat([1.0, 0.0], [3_400, 600])[None], is_share=True)

    expected = stats.binomtest(3_400, 4_000).proportion_ci(method="wilson")
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=2e-5)


def test_a_difference_is_paired_text_by_text():
    """Two variants that fail on the same texts differ by 1/2 of a text in 4: V = t^2 / n of (0, 0, 0, 1)."""
    got = difference(np.array([[1.0, 1, 0, 1]]), np.array([[1.0, 1, 0, 0]]))

    assert got.value == 0.25
    assert got.standard_error == pytest.approx(sqrt(0.25 / 4))
    assert got.holds(0)


def test_a_variant_does_not_differ_from_itself():
    """The difference to itself is nothing, with no spread."""
    values = np.random.default_rng(2).random((1, 30))

    got = difference(values, values)

    assert (got.low, got.value, got.high, got.degrees_of_freedom) == (0, 0, 0, inf)


def test_a_difference_counts_the_seeds_of_both():
    """Seeds that shift every text by a constant add s^2/S of each side, whatever their number."""
    texts = np.random.default_rng(3).random(20)
    one, other = texts + np.array([[0.0], [0.2]]), texts + np.array([[0.0], [0.3], [0.6]])

    got = difference(one, other)

    assert got.seeds_variance == pytest.approx(0.02 / 2 + 0.09 / 3)
    assert got.texts_variance == pytest.approx(0)


def test_one_text_is_refused():
    """A spread needs two texts, and the error says what to do."""
    with pytest.raises(DataError, match=r"1 test text was given; .* at least two. Hold back more rows"):
        mean_over_seeds(np.ones((3, 1)))


@pytest.mark.parametrize(
    ("share", "seeds_sd", "n_seeds"),
    [(0.8, 0.0, 3), (0.8, 0.02, 3), (0.6, 0.01, 5), (0.95, 0.0, 3)],
)
def test_intervals_cover_what_they_promise(share, seeds_sd, n_seeds):
    """Of 600 simulated studies 95% hold the true share, within three standard errors of the count."""
    drawn = studies(600, n_texts=300, n_seeds=n_seeds, share=share, seeds_sd=seeds_sd, seed=7)

    covered = np.mean([mean_over_seeds(values, is_share=True).holds(share) for values in drawn])

    assert 0.95 - 3 * sqrt(0.95 * 0.05 / 600) <= covered <= 0.95 + 3 * sqrt(0.95 * 0.05 / 600)


def test_equal_variants_are_told_apart_one_time_in_twenty():
    """Two variants of one true share, each with seeds of its own, differ by mistake in about 5% of 600 studies."""
    rng = np.random.default_rng(8)
    wrong = 0
    for _ in range(600):
        easy = rng.beta(1.6, 0.4, size=300)
        luck = rng.normal(0, 0.02, size=(2, 3, 1))
        one, other = rng.random((2, 3, 300)) < np.clip(easy + luck * easy * (1 - easy) * 6, 0, 1)
        wrong += not difference(one.astype(float), other.astype(float)).holds(0)

    assert 0.02 <= wrong / 600 <= 0.08
