"""What there is to read in the answers: which classes are mixed up, and which texts nearly all get wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunewise.contracts import Text
    from tunewise.verdict.standing import Standing


@dataclass(frozen=True)
class Answer:
    """What one variant says of one text, over its seeds."""

    variant: str
    label: int
    """Index of the class it answers: the most probable after averaging over seeds, or the most frequent."""
    probability: float | None
    """Of that class; none where the source answers labels alone."""
    is_right: bool


@dataclass(frozen=True)
class HardText:
    """A test text that many variants answer wrongly."""

    id: str
    text: Text | None
    """None where the text was not at hand."""
    label: int
    answers: tuple[Answer, ...]

    @property
    def n_wrong(self) -> int:
        """Return how many variants are wrong."""
        return sum(not answer.is_right for answer in self.answers)


def confusion_of(standing: Standing, n_classes: int) -> np.ndarray:
    """Return how often each true class (row) was answered with each class (column), summed over seeds."""
    total = np.zeros((n_classes, n_classes), dtype=np.int64)
    for outcome in standing.outcomes:
        np.add.at(total, (outcome.test.answers.labels, outcome.test.answers.predicted), 1)
    return total


def mixed_up(confusion: np.ndarray, *, at_most: int = 5) -> list[tuple[int, int, float]]:
    """Return true class, answered class and the share of the true class, of the most frequent mistakes."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    largest = np.argsort(-wrong, axis=None, kind="stable")[:at_most]
    cells = [(int(i), int(j)) for i, j in zip(*np.unravel_index(largest, wrong.shape), strict=True)]
    return [(i, j, float(wrong[i, j] / confusion[i].sum())) for i, j in cells if wrong[i, j]]


def hardest_texts(standings: Sequence[Standing], texts: Mapping[str, Text], *, at_most: int = 10) -> tuple[HardText, ...]:
    """Return the texts that most variants get wrong, of equals the one whose class they find least probable.

    Variants that learned nothing have no say, unless no other did.
    """
    voters = [one for one in standings if one.has_learned] or list(standings)
    if not voters:
        return ()
    test = voters[0].outcomes[0].test
    rows = np.arange(len(test.ids))
    votes = [_consensus(one) for one in voters]
    n_wrong = np.sum([label != test.answers.labels for label, _ in votes], axis=0)
    belief = np.mean([shares[rows, test.answers.labels] for _, shares in votes], axis=0)
    order = [int(i) for i in np.lexsort((rows, belief, -n_wrong)) if n_wrong[i]][:at_most]
    return tuple(
        HardText(
            id=test.ids[i],
            text=texts.get(test.ids[i]),
            label=int(test.answers.labels[i]),
            answers=tuple(
                _answer(one, int(label[i]), float(shares[i, label[i]]), int(test.answers.labels[i]))
                for one, (label, shares) in zip(voters, votes, strict=True)
            ),
        )
        for i in order
    )


def _answer(standing: Standing, label: int, share: float, truth: int) -> Answer:
    return Answer(standing.variant, label, share if _has_probabilities(standing) else None, label == truth)


def _has_probabilities(standing: Standing) -> bool:
    return "log_loss" in standing.values


def _consensus(standing: Standing) -> tuple[np.ndarray, np.ndarray]:
    """Return the answer to each text and the share each class has: mean probability over seeds, or share of seeds."""
    each = np.eye(len(standing.outcomes[0].classes), dtype=np.float32)
    answers = [outcome.test.answers for outcome in standing.outcomes]
    shares = np.mean([each[one.predicted] if one.probabilities is None else one.probabilities for one in answers], axis=0)
    return shares.argmax(axis=1), shares
