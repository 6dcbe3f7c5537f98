"""Marks in words on outcomes that learned nothing, so that they are not ranked in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewise.evaluation.metrics import confusion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunewise.outcome import ClassAnswers

CHANCE_LEVEL = 0.001
"""A study tests some twenty outcomes; at this level fewer than one study in fifty calls a blind one seeing."""

REWARDS_BLINDNESS = frozenset({"accuracy", "log_loss"})
"""Metrics by which answering the largest class alone can look good."""


def marks_of(development: ClassAnswers, test: ClassAnswers, metric: str) -> tuple[str, ...]:
    """Return what is wrong with the answers, in words; nothing for answers that learned something."""
    return tuple(_marks(development, test, metric))


def _marks(development: ClassAnswers, test: ClassAnswers, metric: str) -> Iterator[str]:
    if len(np.unique(np.concatenate([development.predicted, test.predicted]))) == 1:
        yield "predicts one class for every text"
    rate, guess = guessing_rate(test, metric)
    hits, n = int(np.sum(test.predicted == test.labels)), len(test.labels)
    probability = chance_of(hits, n, rate)
    if probability >= CHANCE_LEVEL:
        yield (
            f"at chance: its test accuracy {hits / n:.3f} on {n} texts cannot be told from {guess} "
            f"({rate:.3f}; exact binomial p = {probability:.2g})"
        )


def guessing_rate(answers: ClassAnswers, metric: str) -> tuple[float, str]:
    """Return the accuracy that needs no look at the text, and what guesses so.

    Where the deciding metric is accuracy or log loss it is the share of the largest class. Metrics that treat
    classes alike rank answers above chance which lie below that share; there it is the accuracy of the same
    answers given to texts at random, the sum over classes of true share times answered share.
    """
    counts = confusion(answers) / len(answers.labels)
    if metric in REWARDS_BLINDNESS:
        return float(counts.sum(axis=1).max()), "answering the largest class alone"
    return float(counts.sum(axis=1) @ counts.sum(axis=0)), "giving its answers to texts at random"


def chance_of(hits: int, n: int, rate: float) -> float:
    """Return the probability of ``hits`` or more right answers among ``n`` at ``rate``: the exact binomial tail."""
    from scipy.stats import binom

    return float(binom.sf(hits - 1, n, rate))
