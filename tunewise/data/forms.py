"""Folded texts and their word 3-grams, numbered so that millions of them can be compared."""

from __future__ import annotations

import string
import sys
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from itertools import count, pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from tunewise.contracts import Text, Texts

SHORT_WORDS = 8
"""Texts with fewer words have too few 3-grams for a share of them to mean anything."""

_CODE_BITS = 57
_COUNT_STEPS = 63
"""A gram is one integer: about how often it occurs in the upper 6 bits, which words in the lower ones."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Multiplier that spreads neighbours. Source: Knuth 1998, "The Art of Computer Programming" 3, section 6.4."""

_BETWEEN = "\x1f"
"""Stands between the two texts of a pair as a word of its own."""


@cache
def _punctuation() -> dict[int, str]:
    """Map punctuation to a space. Emoji stay, being words of a kind; so does the underscore, which binds words."""
    codes = range(128, sys.maxunicode + 1)
    found = [*map(ord, string.punctuation), *(code for code in codes if unicodedata.category(chr(code)).startswith("P"))]
    return dict.fromkeys(found, " ") | {ord("_"): "_"}


def fold(text: Text) -> str:
    """Return ``text`` in folded case, its words parted by single spaces and without punctuation.

    A text of punctuation alone stays as it is, so that ``!`` and ``?`` do not become equal.
    """
    if isinstance(text, tuple):
        return f" {_BETWEEN} ".join(fold(part) for part in text)
    return " ".join(text.casefold().translate(_punctuation()).split()) or " ".join(text.split())


@dataclass(frozen=True, eq=False)
class Forms:
    """The distinct folded texts of a table, ready to be compared. A form is known by its number."""

    folded: tuple[str, ...]
    """Per row."""
    of_row: np.ndarray
    """Per row, the number of its form. Shape: (n_rows,)."""
    words: np.ndarray
    """Word numbers of all forms, one form after the other. Shape: (n_words,)."""
    word_starts: np.ndarray
    """Where each form's words begin in ``words``, and the end. Shape: (n_forms + 1,)."""
    vocabulary: tuple[str, ...]
    """The words, by number."""
    grams: np.ndarray
    """Each form's distinct 3-grams as numbers, the rarest first; forms below `SHORT_WORDS` have none. Shape: (n_grams,)."""
    gram_starts: np.ndarray
    """Where each form's grams begin in ``grams``, and the end. Shape: (n_forms + 1,)."""
    prefixes: dict[int, list[tuple[int, int]]]
    """Form to those of its rarest grams that are also among the rarest of another form: a new number, and the place among
    the form's grams."""
    _sets: dict[int, frozenset[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Texts) -> Forms:
        """Fold ``texts`` and order their 3-grams by rarity."""
        folded = tuple(fold(text) for text in texts)
        numbers = defaultdict(count().__next__)
        of_row = np.fromiter((numbers[text] for text in folded), np.int64, len(folded))
        words, starts, vocabulary = _numbered_words(list(numbers))
        grams, gram_starts = _ordered_grams(words, starts, len(vocabulary), _long_forms(list(numbers), starts))
        return cls(folded, of_row, words, starts, vocabulary, grams, gram_starts, _shared_prefixes(grams, gram_starts))

    def are_alike(self, one: int, other: int) -> bool:
        """Say whether two forms are the same, or share grams at a Jaccard index of at least 0.8."""
        if one == other:
            return True
        sizes = self.size(one), self.size(other)
        if 5 * min(sizes) < 4 * max(sizes):
            return False
        n_shared = len(self._set(one) & self._set(other))
        return 5 * n_shared >= 4 * (sum(sizes) - n_shared) > 0

    def size(self, form: int) -> int:
        """Return how many distinct 3-grams a form has."""
        return int(self.gram_starts[form + 1] - self.gram_starts[form])

    def _set(self, form: int) -> frozenset[int]:
        if form not in self._sets:
            self._sets[form] = frozenset(self.grams[self.gram_starts[form] : self.gram_starts[form + 1]].tolist())
        return self._sets[form]


def _numbered_words(folded: list[str]) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return the number of every word, where each text begins, and the words by number."""
    # Bytes, since a lone surrogate is a character to Python and none to Arrow.
    lines = pa.array([text.encode("utf-8", "surrogatepass") for text in folded], pa.large_binary())
    lists = pc.split_pattern(lines, pattern=b" ")  # pyright: ignore[reportAttributeAccessIssue] - made at import
    words = lists.values.dictionary_encode()
    vocabulary = tuple(word.decode("utf-8", "surrogatepass") for word in words.dictionary.to_pylist())
    return words.indices.to_numpy(), lists.offsets.to_numpy().astype(np.int64), vocabulary


def _long_forms(folded: list[str], starts: np.ndarray) -> np.ndarray:
    """Return which forms have 3-grams to compare; the mark inside a pair is no word. Shape: (n_forms,)."""
    marks = np.fromiter((_BETWEEN in text for text in folded), np.int64, len(folded))
    return np.diff(starts) - marks >= SHORT_WORDS


def _ordered_grams(words: np.ndarray, starts: np.ndarray, n_words: int, is_long: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct grams of each form, the rarest first, and where each form begins."""
    n_forms = len(is_long)
    owners = np.repeat(np.arange(n_forms, dtype=np.int32), np.diff(starts))
    # A gram begins at every word of a long form but its last two.
    begins = np.flatnonzero(is_long[owners])
    begins = begins[begins + 2 < starts[owners[begins] + 1]]
    owners = owners[begins]
    codes = words[begins].astype(np.int64) * n_words + words[begins + 1]
    if n_words**3 > 1 << _CODE_BITS:
        codes = np.unique(codes, return_inverse=True)[1]
    codes = codes * n_words + words[begins + 2]
    grams = _rough_counts(codes) << _CODE_BITS | codes
    ends = np.cumsum(np.bincount(owners, minlength=n_forms))
    for start, end in pairwise([0, *ends.tolist()]):
        grams[start:end].sort()
    is_new = (np.diff(grams, prepend=-1) != 0) | (np.diff(owners, prepend=-1) != 0)
    return grams[is_new], np.concatenate([[0], np.cumsum(np.bincount(owners[is_new], minlength=n_forms))])


def _rough_counts(codes: np.ndarray) -> np.ndarray:
    """Return about how often each gram occurs, in steps of a quarter of a power of two.

    Grams that share a bucket are counted as one. Any order that depends on the gram alone keeps the
    search exact; a good one keeps it fast.
    """
    bits = min(max(len(codes).bit_length(), 8), 24)
    buckets = (codes.view(np.uint64) * _GOLDEN >> np.uint64(64 - bits)).astype(np.int64)
    counts = np.maximum(np.bincount(buckets), 1)
    return np.minimum(4 * np.log2(counts), _COUNT_STEPS).astype(np.int64)[buckets]


def _shared_prefixes(grams: np.ndarray, starts: np.ndarray) -> dict[int, list[tuple[int, int]]]:
    sizes = np.diff(starts)
    lengths = np.where(sizes > 0, sizes - -(-4 * sizes // 5) + 1, 0)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    places = np.arange(len(grams)) - starts[owners]
    is_prefix = places < lengths[owners]
    _, numbers, counts = np.unique(grams[is_prefix], return_inverse=True, return_counts=True)
    is_shared = counts[numbers] > 1
    columns = (column[is_shared].tolist() for column in (owners[is_prefix], numbers, places[is_prefix]))
    prefixes: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for form, number, place in zip(*columns, strict=True):
        prefixes[form].append((number, place))
    return dict(prefixes)
