"""Duplicates: texts that are equal after folding, or share most of their word 3-grams.

Two texts are duplicates where they are equal after folding case and punctuation, or where both have at
least `SHORT_WORDS` words and the Jaccard index of their sets of word 3-grams is at least 0.8. The
relation is not transitive: the middle of three texts may duplicate both others, which do not duplicate
each other.

If the Jaccard index of A and B is at least t, they share at least t|A| grams, so they share one among the
|A| - ceil(t|A|) + 1 rarest of A and the same of B: only texts that share such a gram are compared. Its
place in both tells how many more they can share at most, and a sketch of each text how many they do not
share at least; both spare comparisons that would fail.

What is exact: everything among the first `EXACT_ROWS` rows, and every later row whose rare grams have at
most `MAX_HOLDERS` holders. Texts made from one template by filling gaps with common words have rare grams
that are not rare; there a row behind the first `EXACT_ROWS` is compared with the `MAX_HOLDERS` eldest
holders of each of its grams alone, so that a million rows take minutes and not days. Whom a row is compared
with depends on the rows before it, and on no later one.

Source: Bayardo, Ma & Srikant 2007, "Scaling Up All Pairs Similarity Search", section 4 (prefixes of the
rarest features); Xiao et al. 2008, "Efficient Similarity Joins for Near Duplicate Detection", section 3
(places).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tunewise.data.forms import ORDER_ROWS, Forms, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tunewise.contracts import Texts

NONE = -1
"""Stands for an elder where a row has none."""

EXACT_ROWS = ORDER_ROWS
MAX_HOLDERS = 500

_NO_HOLDER = np.iinfo(np.int64).max
_FIRST_LOOK = 16
"""Holders of each gram that are looked at first; most rows find their elder among them, or have no more."""
_BLOCK_PAIRS = 1 << 17
_BLOCK_ROWS = 1 << 16


@dataclass(frozen=True, eq=False)
class Elders:
    """The eldest earlier row that each row duplicates, or `NONE`. Shapes: (n_rows,)."""

    same: np.ndarray
    """Of the row's own group."""
    other: np.ndarray
    """Of any other group."""
    n_bounded: int = 0
    """Rows for which the search looked at the eldest `MAX_HOLDERS` holders of some gram and no further."""


@dataclass(frozen=True, eq=False)
class _Holders:
    """Every form once per group, the eldest first, and by rare gram which of them hold it."""

    rows: np.ndarray
    """First row of each; ascending. Shape: (n_holders,)."""
    forms: np.ndarray
    groups: np.ndarray
    starts: np.ndarray
    """Where the holders of each gram begin, and the end. Shape: (n_grams + 1,)."""
    holders: np.ndarray
    """The holders of one gram after the other, the eldest first. Shape: (n_entries,)."""
    sizes: np.ndarray
    """How many grams each of them has. Shape: (n_entries,)."""
    rests: np.ndarray
    """How many of these stand at the gram's place or behind it. Shape: (n_entries,)."""


@dataclass(frozen=True, eq=False)
class _Runs:
    """Holders that are still to be compared with a row, those of one gram in each run. Shapes: (n_runs,)."""

    rows: np.ndarray
    """Index of the row among those that are asked about."""
    sizes: np.ndarray
    """How many grams the row has."""
    rests: np.ndarray
    """How many of these stand at the gram's place or behind it."""
    starts: np.ndarray
    ends: np.ndarray

    def take(self, runs: np.ndarray) -> _Runs:
        return _Runs(self.rows[runs], self.sizes[runs], self.rests[runs], self.starts[runs], self.ends[runs])


def eldest_duplicate(texts: Texts) -> np.ndarray:
    """Return for each row the eldest earlier row that it duplicates, or the row itself. Shape: (n_texts,)."""
    return eldest_among(Forms.of(texts))


def eldest_among(forms: Forms) -> np.ndarray:
    """Return for each row the eldest row before it that it duplicates, or itself. Shape: (n_rows,)."""
    rows = np.arange(len(forms.of_row))
    same = elders(forms, np.zeros(len(rows), np.int64)).same
    return np.where(same == NONE, rows, same)


def elders(forms: Forms, groups: np.ndarray) -> Elders:
    """Return for each row the eldest row before it that it duplicates, in its group and in the others.

    Args:
        forms: The texts of a table, the eldest first.
        groups: The group of each row, such as its side or its class. Shape: (n_rows,).
    """
    found = equal_elders(forms.of_row, groups)
    holders = _holders(forms, groups)
    firsts = holders.rows
    n_bounded = _add_near(forms, groups, holders, firsts, found)
    repeats = np.setdiff1d(np.arange(len(groups)), firsts, assume_unique=True)
    # Of equal forms in one group the first answers for all, but rows of another group may stand between them.
    first = found.same[repeats]
    found.same[repeats] = np.where(found.same[first] == NONE, first, found.same[first])
    is_open = (found.other[first] == NONE) & _are_several(groups)
    found.other[repeats] = _eldest(found.other[repeats], found.other[first])
    _add_near(forms, groups, holders, repeats[is_open], found)
    return Elders(found.same, found.other, n_bounded)


def equal_elders(numbers: np.ndarray, groups: np.ndarray) -> Elders:
    """Return for each row the eldest row before it that has the same number, in its group and in the others."""
    rows = np.arange(len(numbers))
    _, firsts, of_row = np.unique(_both(numbers, groups), return_index=True, return_inverse=True)
    _, eldest, which = np.unique(numbers, return_index=True, return_inverse=True)
    second = np.full(len(eldest), len(rows))
    elsewhere = firsts[groups[firsts] != groups[eldest[which[firsts]]]]
    np.minimum.at(second, which[elsewhere], elsewhere)
    other = np.where(groups[eldest[which]] != groups, eldest[which], second[which])
    same = firsts[of_row]
    return Elders(np.where(same < rows, same, NONE), np.where(other < rows, other, NONE))


def _both(numbers: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return numbers * (groups.max(initial=0) + 1) + groups


def _are_several(groups: np.ndarray) -> bool:
    return bool(len(groups)) and groups.min() != groups.max()


def _eldest(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.where(one == NONE, other, np.where(other == NONE, one, np.minimum(one, other)))


def _holders(forms: Forms, groups: np.ndarray) -> _Holders:
    rows = np.sort(np.unique(_both(forms.of_row, groups), return_index=True)[1])
    of_row, prefixes = forms.of_row[rows], forms.prefixes
    holder, entry = spread(prefixes.starts[of_row], prefixes.starts[of_row + 1])
    grams = prefixes.grams[entry]
    order = np.argsort(grams, kind="stable")
    ends = np.cumsum(np.bincount(grams, minlength=prefixes.grams.max(initial=-1) + 1))
    holder = holder[order].astype(np.int32)
    sizes = forms.sizes[of_row[holder]]
    starts = np.concatenate([[0], ends])
    return _Holders(rows, of_row, groups[rows], starts, holder, sizes, sizes - prefixes.places[entry[order]])


def _add_near(forms: Forms, groups: np.ndarray, holders: _Holders, rows: np.ndarray, found: Elders) -> int:
    """Put the near elders of ``rows`` into ``found``; return for how many the search was bounded."""
    n_bounded, is_one_group = 0, not _are_several(groups)
    keys = _keys_of_entries(holders)
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS]
        runs, n = _runs(forms, holders, keys, block)
        n_bounded += n
        same, other = (np.full(len(block), _NO_HOLDER) for _ in range(2))
        for row, holder in _alike(forms, holders, block, runs, lambda s=same, o=other: s if is_one_group else np.maximum(s, o)):
            is_same = groups[block[row]] == holders.groups[holder]
            np.minimum.at(same, row[is_same], holder[is_same])
            np.minimum.at(other, row[~is_same], holder[~is_same])
        for target, best in ((found.same, same), (found.other, other)):
            near = np.where(best == _NO_HOLDER, NONE, holders.rows[np.minimum(best, len(holders.rows) - 1)])
            target[block] = _eldest(target[block], near)
    return n_bounded


def _keys_of_entries(holders: _Holders) -> np.ndarray:
    """Return gram and holder of each entry as one ascending number."""
    grams = np.repeat(np.arange(len(holders.starts) - 1), np.diff(holders.starts))
    return grams * (len(holders.rows) + 1) + holders.holders


def _runs(forms: Forms, holders: _Holders, keys: np.ndarray, rows: np.ndarray) -> tuple[_Runs, int]:
    """Return the older holders of each rare gram of each row, and for how many rows the eldest of them alone."""
    prefixes, of_row = forms.prefixes, forms.of_row[rows]
    row, entry = spread(prefixes.starts[of_row], prefixes.starts[of_row + 1])
    # 64 bits, since a gram's number times the holders' is more than 32 hold.
    grams = prefixes.grams[entry].astype(np.int64)
    n_older = np.searchsorted(holders.rows, rows)
    starts, ends = holders.starts[grams], np.searchsorted(keys, grams * (len(holders.rows) + 1) + n_older[row])
    is_bounded = (rows[row] >= EXACT_ROWS) & (ends - starts > MAX_HOLDERS)
    ends = np.where(is_bounded, starts + MAX_HOLDERS, ends)
    sizes = forms.sizes[of_row[row]]
    runs = _Runs(row, sizes, sizes - prefixes.places[entry], starts, ends)
    return runs.take(np.flatnonzero(starts < ends)), len(np.unique(row[is_bounded]))


def _alike(
    forms: Forms, holders: _Holders, rows: np.ndarray, runs: _Runs, bound: Callable[[], np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows (by their index) and holders that are alike; of each row none that is younger than its ``bound``."""
    n_taken = _FIRST_LOOK
    while len(runs.rows):
        taken = replace(runs, ends=np.minimum(runs.ends, runs.starts + n_taken))
        blocks = np.cumsum(taken.ends - taken.starts) // _BLOCK_PAIRS
        for start, end in pairwise([0, *(np.flatnonzero(np.diff(blocks)) + 1).tolist(), len(blocks)]):
            row, holder = _candidates(forms, holders, rows, taken.take(np.arange(start, end)), bound())
            is_alike = forms.are_alike(forms.of_row[rows[row]], holders.forms[holder])
            yield row[is_alike], holder[is_alike]
        rest = replace(runs, starts=taken.ends)
        rest = rest.take(np.flatnonzero(rest.starts < rest.ends))
        runs = rest.take(np.flatnonzero(holders.holders[rest.starts] < bound()[rest.rows]))
        n_taken *= 4


def _candidates(
    forms: Forms, holders: _Holders, rows: np.ndarray, runs: _Runs, bound: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of a row and a holder that places and sketches leave open, each pair once."""
    run, entry = spread(runs.starts, runs.ends)
    # Where this is the first gram that both have, they share at most what is left from here.
    n_shared = np.minimum(runs.rests[run], holders.rests[entry])
    is_open = 9 * n_shared >= 4 * (runs.sizes[run] + holders.sizes[entry])
    row, holder = runs.rows[run[is_open]], holders.holders[entry[is_open]]
    one, other = forms.of_row[rows[row]], holders.forms[holder]
    is_open = forms.may_be_alike(one, other)
    is_open = is_open[(holder[is_open] < bound[row[is_open]]) & (one[is_open] != other[is_open])]
    pairs = np.unique(row[is_open] * len(holders.rows) + holder[is_open])
    return pairs // len(holders.rows), pairs % len(holders.rows)
