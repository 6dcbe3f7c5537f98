"""Folded texts and their word 3-grams, numbered so that millions of them can be compared."""

from __future__ import annotations

import string
import sys
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from tunewise.contracts import Text, Texts

SHORT_WORDS = 8
"""Texts with fewer words have too few 3-grams for a share of them to mean anything."""

_CODE_BITS = 57
_COUNT_STEPS = 63
"""A gram is one integer: about how often it occurs in the upper 6 bits, which words in the lower ones."""

ORDER_ROWS = 20_000
"""What is rare is read from this many first rows, so that rows appended behind them change no order."""

_MAX_BUCKET_BITS = 22
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Multiplier that spreads neighbours. Source: Knuth 1998, "The Art of Computer Programming" 3, section 6.4."""

_SKETCH_WORDS = 4
"""Of 64 bits each."""

_BLOCK_GRAMS = 1 << 20

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
class Prefixes:
    """The rarest grams of each form that are also among the rarest of another one. Shapes: (n_entries,) but ``starts``."""

    starts: np.ndarray
    """Where each form's entries begin, and the end. Shape: (n_forms + 1,)."""
    grams: np.ndarray
    """A number for each gram that occurs here."""
    places: np.ndarray
    """The place among the form's grams."""


@dataclass(frozen=True, eq=False)
class Forms:
    """The distinct folded texts of a table, ready to be compared. A form is known by its number."""

    folded: tuple[str, ...]
    """Per row."""
    of_row: np.ndarray
    """Per row, the number of its form, counted from the first row on. Shape: (n_rows,)."""
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
    sizes: np.ndarray
    """How many distinct 3-grams each form has. Shape: (n_forms,), int32."""
    prefixes: Prefixes
    sketches: np.ndarray
    """One bit per gram, flipped by each that falls on it. Shape: (4, n_forms), uint64."""

    @classmethod
    def of(cls, texts: Texts) -> Forms:
        """Fold ``texts`` and order their 3-grams by rarity."""
        folded = tuple(fold(text) for text in texts)
        of_row, distinct = numbered(folded)
        words, starts, vocabulary = _numbered_words(distinct)
        is_known = np.arange(len(distinct)) <= of_row[:ORDER_ROWS].max(initial=-1)
        grams, gram_starts = _ordered_grams(words, starts, len(vocabulary), _long_forms(distinct, starts), is_known)
        sizes, prefixes = np.diff(gram_starts).astype(np.int32), _shared_prefixes(grams, gram_starts)
        sketches = _sketches(grams, gram_starts)
        return cls(folded, of_row, words, starts, vocabulary, grams, gram_starts, sizes, prefixes, sketches)

    def may_be_alike(self, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Return the indices of the pairs of forms of which their sketches leave it open that `are_alike` holds.

        A gram that one of the two lacks flips one bit, so the sketches differ in no more bits than there are such grams.
        """
        pairs, most = np.arange(len(ones)), (self.sizes[ones] + self.sizes[others]) // 9
        n_flipped = np.zeros(len(ones), np.int32)
        for bits in self.sketches:
            n_flipped += np.bitwise_count(bits[ones[pairs]] ^ bits[others[pairs]])
            is_open = n_flipped <= most
            pairs, most, n_flipped = pairs[is_open], most[is_open], n_flipped[is_open]
        return pairs

    def are_alike(self, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Say for each pair of forms whether they share grams at a Jaccard index of at least 0.8. Shape: (n_pairs,)."""
        sizes = self.sizes[ones], self.sizes[others]
        n_shared = np.zeros(len(ones), np.int64)
        block = np.cumsum(sizes[0], dtype=np.int64) // _BLOCK_GRAMS
        for start, end in pairwise([0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(ones)]):
            n_shared[start:end] = self._n_shared(ones[start:end], others[start:end])
        return (5 * n_shared >= 4 * (sizes[0] + sizes[1] - n_shared)) & (n_shared > 0)

    def _n_shared(self, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Look each gram of one form up among the sorted grams of the other, all pairs at once."""
        pair, places = spread(self.gram_starts[ones], self.gram_starts[ones + 1])
        wanted = self.grams[places]
        low, end = self.gram_starts[others][pair], self.gram_starts[others + 1][pair]
        high, last = end.copy(), len(self.grams) - 1
        while (is_open := low < high).any():
            middle = (low + high) // 2
            is_below = self.grams[np.minimum(middle, last)] < wanted
            low = np.where(is_open & is_below, middle + 1, low)
            high = np.where(is_open & ~is_below, middle, high)
        is_found = (low < end) & (self.grams[np.minimum(low, last)] == wanted)
        return np.bincount(pair[is_found], minlength=len(ones))


def numbered(values: Iterable[Hashable]) -> tuple[np.ndarray, list[Any]]:
    """Return the number of each value, counted in the order of their first appearance, and the distinct values."""
    numbers: dict[Hashable, int] = defaultdict(count().__next__)
    of_value = np.fromiter((numbers[value] for value in values), np.int64)
    return of_value, list(numbers)


def spread(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return every place from each start to its end, and before it which start it belongs to. Shapes: (n_places,)."""
    lengths = ends - starts
    owners = np.repeat(np.arange(len(starts)), lengths)
    return owners, np.arange(len(owners)) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)


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


def _ordered_grams(
    words: np.ndarray, starts: np.ndarray, n_words: int, is_long: np.ndarray, is_known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
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
    # Of grams that occur equally often those of later words come first: words that appear late are rare.
    grams = _rough_counts(words, begins, is_known[owners]) << _CODE_BITS | ((1 << _CODE_BITS) - 1 - codes)
    del codes, begins
    ends = np.cumsum(np.bincount(owners, minlength=n_forms))
    for start, end in pairwise([0, *ends.tolist()]):
        grams[start:end].sort()
    is_new = (np.diff(grams, prepend=-1) != 0) | (np.diff(owners, prepend=-1) != 0)
    return grams[is_new], np.concatenate([[0], np.cumsum(np.bincount(owners[is_new], minlength=n_forms))])


def _rough_counts(words: np.ndarray, begins: np.ndarray, is_known: np.ndarray) -> np.ndarray:
    """Return about how often each gram occurs in the known forms, in steps of a quarter of a power of two.

    Grams that share a bucket are counted as one. Any order that depends on the gram alone keeps the
    search exact; a good one keeps it fast.
    """
    bits = min(max(int(is_known.sum()).bit_length(), 8), _MAX_BUCKET_BITS)
    mixed = np.zeros(len(begins), np.uint64)
    for offset in range(3):
        mixed = (mixed ^ words[begins + offset].astype(np.uint64)) * _GOLDEN
    buckets = (mixed >> np.uint64(64 - bits)).astype(np.int32)
    counts = np.maximum(np.bincount(buckets[is_known], minlength=1 << bits), 1)
    return np.minimum(4 * np.log2(counts), _COUNT_STEPS).astype(np.int64)[buckets]


def _shared_prefixes(grams: np.ndarray, starts: np.ndarray) -> Prefixes:
    sizes = np.diff(starts)
    lengths = np.where(sizes > 0, sizes - -(-4 * sizes // 5) + 1, 0)
    owners, places = spread(starts[:-1], starts[:-1] + lengths)
    _, numbers, counts = np.unique(grams[places], return_inverse=True, return_counts=True)
    is_needed = (counts[numbers] > 1) & _is_first_of_its_holders(owners, numbers, counts)[numbers]
    owners, numbers, places = owners[is_needed], numbers[is_needed], places[is_needed]
    ends = np.cumsum(np.bincount(owners, minlength=len(sizes)))
    return Prefixes(np.concatenate([[0], ends]), numbers.astype(np.int32), (places - starts[owners]).astype(np.int32))


def _is_first_of_its_holders(owners: np.ndarray, numbers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Say of each gram whether none before it stands in the same prefixes and in no other. Shape: (n_grams,).

    The three grams of a rare word do, and one of them finds whatever the others would. It is the one that comes first
    in every form, as their places ask for. Sets of forms are compared by the sum of 64 mixed bits of each.
    """
    mixed = (owners.astype(np.uint64) + np.uint64(1)) * _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(29))) * _GOLDEN
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(counts) else counts
    sums = np.add.reduceat(mixed[np.argsort(numbers, kind="stable")], starts) if len(counts) else mixed
    is_first = np.zeros(len(counts), bool)
    is_first[np.unique(sums, return_index=True)[1]] = True
    return is_first


def _sketches(grams: np.ndarray, starts: np.ndarray) -> np.ndarray:
    made = np.zeros((_SKETCH_WORDS, len(starts) - 1), np.uint64)
    filled = np.flatnonzero(np.diff(starts))
    if not len(filled):
        return made
    places = grams.view(np.uint64) * _GOLDEN >> np.uint64(56)
    bits = np.uint64(1) << (places & np.uint64(63))
    for word in range(_SKETCH_WORDS):
        ours = np.where(places >> np.uint64(6) == word, bits, np.uint64(0))
        made[word, filled] = np.bitwise_xor.reduceat(ours, starts[filled])
    return made
