"""What each text adds to a metric, so that one statistics serves means and ratios alike.

A metric is written as the mean of one number per text. For accuracy and log loss that number is the
text's own value. For macro-F1 and Matthews' correlation, which are no means, it is the metric plus its
derivative by the weight of the text: the infinitesimal jackknife. Its spread over texts divided by
their number is the metric's sampling variance, which a bootstrap over texts would reach with many
draws, and the difference of two variants stays paired text by text.

Source: Jaeckel 1972, "The infinitesimal jackknife"; Efron 1982, "The Jackknife, the Bootstrap and Other
Resampling Plans", chapter 6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunewise.evaluation.metrics import confusion, macro_f1, mcc, metric_named, per_example

if TYPE_CHECKING:
    from tunewise.outcome import ClassAnswers


def contributions(metric: str, answers: ClassAnswers) -> np.ndarray | None:
    """Return one number per text whose mean is the metric; none where the answers do not carry it (log loss of labels).

    Shape: (n_texts,), float64.

    Raises:
        StudyError: If no metric has this name.
    """
    metric_named(metric)
    if metric == "macro_f1":
        return _of_macro_f1(answers)
    if metric == "mcc":
        return _of_mcc(answers)
    return per_example(answers).get(metric)


def _of_macro_f1(answers: ClassAnswers) -> np.ndarray:
    """With D_k = true + answered of class k and F_k = 2 hits / D_k, a text adds (2 hit - F_k (is true + is answered)) / D_k."""
    truth, answer = answers.labels, answers.predicted
    counts = confusion(answers)
    occurs = counts.sum(axis=1) > 0
    both = np.maximum(counts.sum(axis=0) + counts.sum(axis=1), 1)
    f1 = 2 * np.diag(counts) / both
    share = np.where(occurs, f1 / both, 0.0)
    hit = np.where(truth == answer, 2 / both[truth], 0.0)
    derivative = (hit - share[truth] - share[answer]) / occurs.sum()
    return macro_f1(answers) + len(truth) * derivative


def _of_mcc(answers: ClassAnswers) -> np.ndarray:
    """The quotient rule on Gorodkin's equation 8; all zero where it is 0 / 0."""
    truth, answer = answers.labels, answers.predicted
    counts = confusion(answers).astype(np.float64)
    n, n_true, n_answered, hits = counts.sum(), counts.sum(axis=1), counts.sum(axis=0), np.trace(counts)
    of_answers, of_truth = n**2 - n_answered @ n_answered, n**2 - n_true @ n_true
    if not of_answers * of_truth:
        return np.zeros(len(truth))
    covariance = n * (truth == answer) + hits - n_true[answer] - n_answered[truth]
    spread = (n - n_answered[answer]) / of_answers + (n - n_true[truth]) / of_truth
    value = mcc(answers)
    return value + n * (covariance / np.sqrt(of_answers) / np.sqrt(of_truth) - value * spread)
