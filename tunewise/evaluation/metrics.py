"""Metrics of classification answers: one number for all rows, and the values of single rows where they exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tunewise.errors import StudyError
from tunewise.outcome import ClassAnswers, Scored

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunewise.contracts import Matrix, Part

Metric: TypeAlias = "Callable[[ClassAnswers], float]"

LEAST_PROBABILITY = 1e-7
"""Log loss takes a smaller probability for this one: float32 rounds a sure answer to 0 or 1, and one wrong
sure answer would make the mean infinite. A row costs at most -log(1e-7) = 16.1 nats."""


def answers_of(probabilities: Matrix, labels: np.ndarray) -> ClassAnswers:
    """Return answers that name the most probable class; of equal ones the first.

    Shapes:
        (n_texts, n_classes), (n_texts,)
    """
    predicted = np.argmax(probabilities, axis=1).astype(np.int64)
    return ClassAnswers(np.asarray(labels, dtype=np.int64), predicted, np.asarray(probabilities, dtype=np.float32))


def score(part: Part, probabilities: Matrix) -> Scored:
    """Return the answers to ``part`` with the value of each metric that single rows have."""
    answers = answers_of(probabilities, part.labels)
    return Scored(part.ids, answers, per_example(answers))


def per_example(answers: ClassAnswers) -> dict[str, np.ndarray]:
    """Return ``accuracy`` (0 or 1) and, where there are probabilities, ``log_loss`` (nats) of every row.

    The mean over rows is the metric. Shape of each: (n_texts,), float64.
    """
    values = {"accuracy": (answers.predicted == answers.labels).astype(np.float64)}
    if answers.probabilities is not None:
        of_truth = answers.probabilities[np.arange(len(answers.labels)), answers.labels].astype(np.float64)
        values["log_loss"] = -np.log(np.clip(of_truth, LEAST_PROBABILITY, 1.0))
    return values


def confusion(answers: ClassAnswers) -> np.ndarray:
    """Return how often each true class (row) was answered with each class (column). Shape: (n_classes, n_classes), int64."""
    if answers.probabilities is not None:
        n_classes = answers.probabilities.shape[1]
    else:
        n_classes = int(max(answers.labels.max(initial=0), answers.predicted.max(initial=0))) + 1
    cells = np.bincount(answers.labels * n_classes + answers.predicted, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes)


def accuracy(answers: ClassAnswers) -> float:
    """Return the share of rows answered with their class."""
    return float(np.mean(answers.predicted == answers.labels))


def macro_f1(answers: ClassAnswers) -> float:
    """Return the plain mean of each class's F1, over the classes that occur among the true labels.

    A class that no row has is left out, so that all variants are averaged over the same classes; what a
    variant wrongly answers with it is missing from the recall of others. A class never answered has F1 0.

    Source: van Rijsbergen 1979, "Information Retrieval", chapter 7, with beta = 1.
    """
    counts = confusion(answers)
    n_true, n_answered = counts.sum(axis=1), counts.sum(axis=0)
    occurs = n_true > 0
    return float(np.mean(2 * np.diag(counts)[occurs] / (n_true + n_answered)[occurs]))


def mcc(answers: ClassAnswers) -> float:
    """Return Matthews' correlation between true and answered classes: 1 perfect, 0 chance.

    It is 0 where all rows have one class or all answers are one class.

    Source: Gorodkin 2004, "Comparing two K-category assignments by a K-category correlation coefficient", equation 8.
    """
    counts = confusion(answers).astype(np.float64)
    n, n_true, n_answered = counts.sum(), counts.sum(axis=1), counts.sum(axis=0)
    covariance = np.trace(counts) * n - n_true @ n_answered
    spread = np.sqrt(n**2 - n_true @ n_true) * np.sqrt(n**2 - n_answered @ n_answered)
    return float(covariance / spread) if spread else 0.0


def log_loss(answers: ClassAnswers) -> float:
    """Return the mean of ``-log p(true class)`` in nats, each probability taken as at least 1e-7.

    Raises:
        StudyError: If the answers hold labels alone.
    """
    if answers.probabilities is None:
        raise StudyError("metric='log_loss' needs probabilities; these answers are labels alone. Use accuracy, macro_f1 or mcc.")
    return float(np.mean(per_example(answers)["log_loss"]))


METRICS: dict[str, Metric] = {"accuracy": accuracy, "macro_f1": macro_f1, "mcc": mcc, "log_loss": log_loss}


def metric_named(name: str) -> Metric:
    """Return the metric called ``name``.

    Raises:
        StudyError: If there is none, naming those there are.
    """
    if name not in METRICS:
        raise StudyError(f"metric={name!r} is unknown; it can be {', '.join(METRICS)}.")
    return METRICS[name]


def higher_is_better(name: str) -> bool:
    """Say whether a larger value of the metric ``name`` is the better one."""
    return metric_named(name) is not log_loss


def gain(name: str, answers: ClassAnswers) -> float:
    """Return the metric ``name`` with the sign under which more is better; what choices on development rows maximise."""
    value = metric_named(name)(answers)
    return value if higher_is_better(name) else -value
