"""The check for a leaked label: a word that alone gives a class away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from tunewise.data.findings import Finding, counted, first_rows, shown

if TYPE_CHECKING:
    from tunewise.contracts import Label
    from tunewise.data.forms import Forms

MIN_PRECISION = 0.98
"""Of the texts that hold the word, the share that are of the class."""
MIN_TEXTS = 20
MIN_SHARE = 0.05
"""Of the texts of the class, the share that hold the word."""


def leaked_label(forms: Forms, labels: np.ndarray, classes: tuple[Label, ...]) -> Finding:
    """Return the finding on words that stand in many texts of one class and hardly anywhere else."""
    counts = _texts_by_word_and_class(forms, labels, len(classes))
    n_texts = np.asarray(counts.sum(axis=1)).ravel()
    n_of_class = np.bincount(labels, minlength=len(classes))
    n_of_word = n_texts[counts.row]
    is_leak = (n_of_word >= MIN_TEXTS) & (counts.data >= MIN_PRECISION * n_of_word)
    leaks = np.flatnonzero(is_leak & (counts.data >= MIN_SHARE * n_of_class[counts.col]))
    found = sorted(
        (
            (
                float(count / n_of_class[label]),
                float(count / n_texts[word]),
                int(n_texts[word]),
                forms.vocabulary[word],
                classes[label],
            )
            for word, label, count in zip(
                counts.row[leaks].tolist(), counts.col[leaks].tolist(), counts.data[leaks].tolist(), strict=True
            )
        ),
        key=lambda leak: (-leak[0], leak[3]),
    )
    if not found:
        return Finding("leaked_label", passed=True, message="No single word gives a class away.")
    share, precision, n, word, label = found[0]
    return Finding(
        "leaked_label",
        passed=False,
        message=f"{counted(len(found), 'word')} may give the class away. {shown(word)!r} stands in {n:,} texts, "
        f"{precision:.1%} of them {label!r}, and in {share:.1%} of that class. If it comes from how the data was made, take it "
        "out of the texts.",
        rows=first_rows(
            {
                "word": shown(word),
                "class": label,
                "n_texts": n,
                "precision": round(precision, 4),
                "share_of_class": round(share, 4),
            }
            for share, precision, n, word, label in found
        ),
    )


def _texts_by_word_and_class(forms: Forms, labels: np.ndarray, n_classes: int) -> sparse.coo_array:
    """Return how many texts of each class hold each word. Shape: (n_words, n_classes)."""
    n_forms, n_words = len(forms.word_starts) - 1, len(forms.vocabulary)
    ones = np.ones(len(forms.words), np.int32)
    # Copied, since summing up sorts each form's words in place.
    holds = sparse.csr_array((ones, forms.words, forms.word_starts), shape=(n_forms, n_words), copy=True)
    holds.sum_duplicates()
    holds.data[:] = 1
    rows = sparse.coo_array((np.ones(len(labels), np.int64), (forms.of_row, labels)), shape=(n_forms, n_classes))
    return sparse.coo_array(holds.T @ rows.tocsr())
