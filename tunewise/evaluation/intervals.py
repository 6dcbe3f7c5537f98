"""Intervals that count both chances a score hangs on: which seeds were drawn, and which texts were tested.

Seeds and texts are crossed, every seed answers every text, so the variance of the mean over both is

    V = max(0, s^2 - r^2 / n) / S  +  t^2 / n

with S seeds, n texts, s^2 the variance of the seeds' means, t^2 the variance over texts of their mean
over seeds, and r^2 the mean square of what neither explains. The texts' part already holds r^2 / (n S),
so it is taken out of the seeds' part. Satterthwaite's degrees of freedom give the quantile of t. A
method without chance has one row and no seeds' part.

Source: Searle, Casella & McCulloch 1992, "Variance Components", section 4.2 (the crossed layout);
Satterthwaite 1946, "An approximate distribution of estimates of variance components"; for shares
Wilson 1927, "Probable inference", with the number of texts that a plain sample of this variance would
have, as in Franco, Little, Louis & Slud 2019, "Comparative study of confidence intervals for
proportions in complex sample surveys".
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING

from tunewise.errors import DataError

if TYPE_CHECKING:
    import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and texts with its interval at `CONFIDENCE`."""

    value: float
    low: float
    high: float
    seeds_variance: float
    """The part of the variance of ``value`` that another draw of seeds would bring."""
    texts_variance: float
    """The part that another draw of test texts would bring."""
    degrees_of_freedom: float
    n_seeds: int
    n_texts: int

    @property
    def standard_error(self) -> float:
        """Return the standard deviation of ``value`` over draws of seeds and texts."""
        return sqrt(self.seeds_variance + self.texts_variance)

    @property
    def seeds_share(self) -> float:
        """Return how much of the variance the seeds bring, from 0 to 1."""
        variance = self.seeds_variance + self.texts_variance
        return self.seeds_variance / variance if variance else 0.0

    def holds(self, value: float) -> bool:
        """Say whether ``value`` lies in the interval, its ends included."""
        return self.low <= value <= self.high


def mean_over_seeds(values: np.ndarray, *, is_share: bool = False) -> Estimate:
    """Return the mean of what each text adds under each seed.

    Shapes:
        values: (n_seeds, n_texts); one row where the seed changes nothing.

    Args:
        values: Per-text contributions, see `tunewise.evaluation.contributions`.
        is_share: Whether every value is 0 or 1, so that the interval stays between them and has a width where all agree.

    Raises:
        DataError: If there are fewer than two texts; a spread needs two.
    """
    value = float(values.mean())
    parts = (_seeds_terms(values), [_texts_term(values.mean(axis=0))])
    return _estimate(value, parts, values.shape, is_share=is_share)


def difference(one: np.ndarray, other: np.ndarray) -> Estimate:
    """Return the mean of ``one - other``, paired text by text; their seeds are independent draws.

    Shapes:
        one: (n_seeds, n_texts)
        other: (n_other_seeds, n_texts), the same texts in the same order.
    """
    of_text = one.mean(axis=0) - other.mean(axis=0)
    parts = (_seeds_terms(one) + _seeds_terms(other), [_texts_term(of_text)])
    return _estimate(float(of_text.mean()), parts, (min(len(one), len(other)), one.shape[1]), is_share=False)


_Term = tuple[float, float]
"""A mean square with its factor and sign, and its degrees of freedom."""


def _seeds_terms(values: np.ndarray) -> list[_Term]:
    n_seeds, n_texts = values.shape
    if n_seeds == 1:
        return []
    of_seed, of_text = values.mean(axis=1), values.mean(axis=0)
    rest = values - of_seed[:, None] - of_text + values.mean()
    freedom = (n_seeds - 1) * (n_texts - 1)
    between = float(of_seed.var(ddof=1)) / n_seeds
    noise = float((rest**2).sum()) / freedom / n_texts / n_seeds if freedom else 0.0
    return [(between, n_seeds - 1), (-noise, freedom)] if between > noise else []


def _texts_term(of_text: np.ndarray) -> _Term:
    if len(of_text) < 2:
        raise DataError(f"{len(of_text)} test text was given; an interval needs at least two. Hold back more rows for testing.")
    return float(of_text.var(ddof=1)) / len(of_text), len(of_text) - 1


def _estimate(value: float, parts: tuple[list[_Term], list[_Term]], shape: tuple[int, ...], *, is_share: bool) -> Estimate:
    seeds, texts = (sum(term for term, _ in part) for part in parts)
    squares = sum(term**2 / freedom for part in parts for term, freedom in part if freedom)
    freedom = (seeds + texts) ** 2 / squares if squares else inf
    z = _quantile(freedom)
    half = z * sqrt(seeds + texts)
    low, high = _share_ends(value, seeds + texts, z, shape[1]) if is_share else (value - half, value + half)
    return Estimate(value, low, high, seeds, texts, freedom, shape[0], shape[1])


def _share_ends(value: float, variance: float, z: float, n_texts: int) -> tuple[float, float]:
    """Wilson's interval of a plain sample that has this variance; where all texts agree, of ``n_texts``."""
    n = value * (1 - value) / variance if variance else n_texts
    centre = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(value * (1 - value) / n + z**2 / (4 * n**2))
    return min(value, max(0.0, centre - half)), max(value, min(1.0, centre + half))


def _quantile(freedom: float) -> float:
    from scipy.special import ndtri, stdtrit

    tail = (1 + CONFIDENCE) / 2
    return float(ndtri(tail) if freedom == inf else stdtrit(freedom, tail))
