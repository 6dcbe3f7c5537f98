"""Duplicates: texts that are equal after folding, or share most of their word 3-grams.

Two texts are duplicates where they are equal after folding case and punctuation, or where both have at
least `SHORT_WORDS` words and the Jaccard index of their sets of word 3-grams is at least 0.8. The
relation is not transitive: the middle of three texts may duplicate both others, which do not duplicate
each other.

The search is exact. If the Jaccard index of A and B is at least t, they share at least t|A| grams, so they
share one among the |A| - ceil(t|A|) + 1 rarest of A and the same of B: only texts that share such a gram
are compared. Its place in both tells how many more they can share at most, which spares most of the
comparisons that would fail. Rare grams have few holders, so the time grows about linearly with the rows;
texts made from one template by filling several gaps with common words are the case where it does not.

Source: Bayardo, Ma & Srikant 2007, "Scaling Up All Pairs Similarity Search", section 4 (prefixes of the
rarest features); Xiao et al. 2008, "Efficient Similarity Joins for Near Duplicate Detection", section 3
(places).
"""

from __future__ import annotations

from collections import defaultdict
from heapq import merge
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tunewise.data.forms import Forms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tunewise.contracts import Texts

_Holders: TypeAlias = dict[int, dict[tuple[int, int, int], list[int]]]
"""Gram to (group, number of grams, place of the gram) to the rows that hold it so, ascending."""


def eldest_duplicate(texts: Texts) -> np.ndarray:
    """Return for each row the eldest earlier row that it duplicates, or the row itself. Shape: (n_texts,)."""
    return eldest_among(Forms.of(texts), range(len(texts)))


def eldest_among(forms: Forms, rows: Sequence[int]) -> np.ndarray:
    """Return for each row the eldest of ``rows`` before it that it duplicates, or itself. Shape: (n_rows,)."""
    eldest = np.arange(len(forms.of_row))
    for row, elders in eldest_by_group(forms, np.zeros(len(eldest), np.int64), rows).items():
        eldest[row] = elders[0]
    return eldest


def eldest_by_group(forms: Forms, groups: np.ndarray, order: Iterable[int]) -> dict[int, dict[int, int]]:
    """Return for each row that has an elder duplicate the eldest one in each group.

    Args:
        forms: The texts of the table.
        groups: The group of each row, such as its side or its class. Shape: (n_rows,).
        order: Rows from the eldest to the youngest; those it leaves out take no part.

    Returns:
        Row to group to the eldest duplicate in this group among the rows before it in ``order``.
    """
    sequence = list(order)
    equal: dict[int, dict[int, int]] = defaultdict(dict)
    holders: _Holders = defaultdict(lambda: defaultdict(list))
    found: dict[int, dict[int, int]] = {}
    form_at, group_at = forms.of_row[sequence].tolist(), groups[sequence].tolist()
    for i, (form, group) in enumerate(zip(form_at, group_at, strict=True)):
        elders = dict(equal[form])
        for other, rows in _candidates(forms, form, holders).items():
            near = _first_alike(forms, form, rows, form_at)
            if near is not None:
                elders[other] = min(near, elders.get(other, near))
        if elders:
            found[sequence[i]] = {other: sequence[elder] for other, elder in elders.items()}
        # Of equal forms in one group the first one answers for all.
        if group not in equal[form]:
            equal[form][group] = i
            for gram, place in forms.prefixes.get(form, ()):
                holders[gram][group, forms.size(form), place].append(i)
    return found


def _candidates(forms: Forms, form: int, holders: _Holders) -> dict[int, list[list[int]]]:
    """Return by group the rows that share a rare gram at places that leave enough grams to be alike."""
    found: dict[int, list[list[int]]] = defaultdict(list)
    size = forms.size(form) if form in forms.prefixes else 0
    for gram, place in forms.prefixes.get(form, ()):
        for (group, other_size, other_place), rows in holders[gram].items():
            # Where this is the first gram that both have, they share at most what is left from here.
            n_shared = min(size - place, other_size - other_place)
            if 5 * n_shared >= 4 * (size + other_size - n_shared):
                found[group].append(rows)
    return found


def _first_alike(forms: Forms, form: int, candidates: list[list[int]], form_at: list[int]) -> int | None:
    """Return the first row of the ascending ``candidates`` whose form is like ``form``."""
    last = -1
    for i in candidates[0] if len(candidates) == 1 else merge(*candidates):
        if i != last and forms.are_alike(form, form_at[i]):
            return i
        last = i
    return None
