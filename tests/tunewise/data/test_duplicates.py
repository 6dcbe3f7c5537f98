"""The duplicate search against a plain loop over all pairs."""

import re
import string

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunewise.data import duplicates
from tunewise.data.duplicates import NONE, elders, eldest_duplicate
from tunewise.data.forms import Forms, fold

LONG = "the quick brown fox jumps over the lazy dog and runs away"


def folded_words(text):
    """Fold by a regular expression instead of a table; ASCII alone."""
    kept = re.sub(f"[{re.escape(string.punctuation.replace('_', ''))}]", " ", text.casefold())
    return kept.split()


def are_duplicates(one, other):
    """The definition, word by word."""
    a, b = folded_words(one), folded_words(other)
    if a == b and a:
        return True
    if min(len(a), len(b)) < 8:
        return one.split() == other.split()
    grams = [{tuple(words[i : i + 3]) for i in range(len(words) - 2)} for words in (a, b)]
    return len(grams[0] & grams[1]) >= 0.8 * len(grams[0] | grams[1]) - 1e-12


WORDS = st.lists(st.sampled_from("abcd"), max_size=24).map(" ".join)
"""Four words make texts so alike that many pairs lie close to the threshold."""


@st.composite
def tables_of_near_copies(draw):
    """Texts, and texts made from them by changing few words."""
    texts = draw(st.lists(WORDS, min_size=1, max_size=6))
    for _ in range(draw(st.integers(0, 12))):
        words = draw(st.sampled_from(texts)).split()
        for _ in range(draw(st.integers(0, 2))):
            words.insert(draw(st.integers(0, len(words))), draw(st.sampled_from(["a", "e", "E!", "f-g"])))
        texts.append(" ".join(words))
    return draw(st.permutations(texts))


@settings(max_examples=300, deadline=None)
@given(tables_of_near_copies())
def test_no_duplicate_is_missed_and_none_invented(texts):
    """For every row the eldest duplicate is the one that a loop over all earlier rows finds first."""
    expected = [next((j for j in range(i) if are_duplicates(texts[j], texts[i])), i) for i in range(len(texts))]

    assert eldest_duplicate(texts).tolist() == expected


@settings(max_examples=200, deadline=None)
@given(tables_of_near_copies(), st.randoms(use_true_random=False))
def test_the_eldest_of_the_own_and_of_other_groups_are_found(texts, random):
    """Each row gets the first duplicate of its group, and the first of any other, among the rows before it."""
    groups = [random.randrange(3) for _ in texts]
    expected = []
    for row, text in enumerate(texts):
        alike = [elder for elder in range(row) if are_duplicates(texts[elder], text)]
        same = (elder for elder in alike if groups[elder] == groups[row])
        other = (elder for elder in alike if groups[elder] != groups[row])
        expected.append((next(same, NONE), next(other, NONE)))
    found = elders(Forms.of(texts), np.array(groups))

    assert list(zip(found.same.tolist(), found.other.tolist(), strict=True)) == expected


@pytest.fixture
def bounded(monkeypatch):
    """Let the search be exact for 6 rows alone, and look at 2 holders of a gram behind them."""
    monkeypatch.setattr("tunewise.data.forms.ORDER_ROWS", 6)
    monkeypatch.setattr("tunewise.data.duplicates.EXACT_ROWS", 6)
    monkeypatch.setattr("tunewise.data.duplicates.MAX_HOLDERS", 2)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables_of_near_copies(), tables_of_near_copies())
def test_a_bounded_search_invents_none_and_depends_on_no_later_row(bounded, old, new):
    """What is found among the old rows is the same whatever stands behind them, and is exact in the first rows."""
    found = eldest_duplicate(old).tolist()

    assert eldest_duplicate(old + new).tolist()[: len(old)] == found
    for row, elder in enumerate(found):
        assert elder == row or are_duplicates(old[elder], old[row])
        if row < 6:
            assert elder == next(j for j in range(row + 1) if j == row or are_duplicates(old[j], old[row]))


def template(n, n_words=20, seed=0):
    """Texts from one template whose five gaps are filled with so many words each; two that differ in one gap are alike."""
    gaps = np.random.default_rng(seed).integers(n_words, size=(n, 5)).tolist()
    form = (
        "dear a{} your order of the b{} is on its way and will come to you on c{} at the d{} in the e{} street with best wishes "
        "from all of us in the shop"
    )
    return [form.format(*gap) for gap in gaps]


def test_texts_of_one_template_take_bounded_work(monkeypatch):
    """Behind the first rows a text meets no more holders of a gram than it may; the audit is told of how many texts."""
    monkeypatch.setattr("tunewise.data.duplicates.EXACT_ROWS", 100)
    monkeypatch.setattr("tunewise.data.duplicates.MAX_HOLDERS", 8)
    met = []
    candidates = duplicates._candidates
    monkeypatch.setattr(
        duplicates,
        "_candidates",
        lambda forms, holders, rows, runs, bound: (
            met.append(int((runs.ends - runs.starts).sum())) or candidates(forms, holders, rows, runs, bound)
        ),
    )
    texts = template(3_000)
    forms = Forms.of(texts)
    found = elders(forms, np.zeros(len(texts), np.int64))

    n_entries = len(forms.prefixes.grams)
    assert sum(met) <= 8 * n_entries + 100 * 100 * n_entries / len(texts)
    assert 2_000 < found.n_bounded <= 2_900


def test_what_is_common_later_changes_no_earlier_answer(monkeypatch):
    """Rows that make other grams common are appended to texts of one template: the bounded search answers as before."""
    monkeypatch.setattr("tunewise.data.forms.ORDER_ROWS", 30)
    monkeypatch.setattr("tunewise.data.duplicates.EXACT_ROWS", 30)
    monkeypatch.setattr("tunewise.data.duplicates.MAX_HOLDERS", 3)
    old = template(600, 8)
    found = eldest_duplicate(old).tolist()
    for gap in "abcde":
        new = [text for text in template(3_000, 8, seed=1) if f" {gap}1" in text]
        assert eldest_duplicate(old + new).tolist()[:600] == found
    assert sum(elder != row for row, elder in enumerate(found)) > 20


def test_an_exact_search_of_one_template_finds_what_a_loop_finds():
    """600 texts of which many share most grams, all pairs compared word by word."""
    texts = template(600, 8)
    expected = [next((j for j in range(i) if are_duplicates(texts[j], texts[i])), i) for i in range(len(texts))]

    assert eldest_duplicate(texts).tolist() == expected


def test_jaccard_at_the_threshold_counts():
    """10 words have 8 grams; a changed last word leaves 7 of 9 (0.78), an added one 8 of 9; 12 words leave 9 of 11 (0.82)."""
    ten, twelve = LONG.split()[:10], LONG.split()
    assert eldest_duplicate([" ".join(ten), " ".join([*ten[:-1], "cat"])]).tolist() == [0, 1]
    assert eldest_duplicate([" ".join(ten), " ".join([*ten, "cat"])]).tolist() == [0, 0]
    assert eldest_duplicate([" ".join(twelve), " ".join([*twelve[:-1], "cat"])]).tolist() == [0, 0]


def test_exactly_four_fifths_are_enough():
    """8 grams in one and the same 8 of 10 in the other: 0.8, a number no binary fraction equals."""
    words = [f"w{i}" for i in range(12)]

    assert eldest_duplicate([" ".join(words[:10]), " ".join(words)]).tolist() == [0, 0]


def test_short_texts_are_duplicates_only_where_equal_after_folding():
    """Seven words differ by one: no duplicate; differ by case and punctuation: one."""
    texts = ["one two three four five six seven", "one two three four five six eight", "One, two... THREE four five six (seven)!"]

    assert eldest_duplicate(texts).tolist() == [0, 1, 0]


def test_the_relation_is_not_transitive():
    """The eldest counts, not the chain: the third row duplicates the second, which duplicates the first, and not the first."""
    words = [f"w{i}" for i in range(14)]
    first, second, third = " ".join(words[:10]), " ".join(words[:12]), " ".join(words[:14])

    assert eldest_duplicate([first, second, third]).tolist() == [0, 0, 1]


def test_pairs_are_folded_both():
    """A pair equals a pair whose two texts are equal after folding; where the texts are cut matters."""
    texts = [("A man.", "He sleeps."), ("a man", "he sleeps"), ("a man he", "sleeps"), ("he sleeps", "a man")]

    assert eldest_duplicate(texts).tolist() == [0, 0, 2, 3]


def test_punctuation_alone_does_not_make_texts_equal():
    """``!`` and ``?`` have no words; they are compared as they are, and so are emoji."""
    assert eldest_duplicate(["!", "?", "!", "", "nice 😀", "nice 😡", "nice 😀."]).tolist() == [0, 1, 0, 3, 4, 5, 4]


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("  Don't—stop, STRASSE/Straße ", "don t stop strasse strasse"),
        ("snake_case", "snake_case"),
        ("हिन्दी भाषा।", "हिन्दी भाषा"),
        (("A.", "B?"), "a \x1f b"),
        ("half \ud800 a character", "half \ud800 a character"),
    ],
)
def test_folding(text, folded):
    """Case and punctuation go; letters of every script, their marks, and the underscore stay."""
    assert fold(text) == folded


def test_no_text_and_lone_surrogates_are_taken():
    """An empty table has no duplicates; half a character is a word like another."""
    assert eldest_duplicate([]).tolist() == []
    assert eldest_duplicate(["a \ud800", "a \udc00", "A \ud800"]).tolist() == [0, 1, 0]


def test_a_large_vocabulary_keeps_grams_apart(monkeypatch):
    """Where three word numbers do not fit one integer, pairs are numbered first; the result is the same."""
    texts = [LONG, LONG.replace("away", "off"), LONG[::-1], LONG.upper()]
    expected = eldest_duplicate(texts)
    monkeypatch.setattr("tunewise.data.forms._CODE_BITS", 10)

    assert eldest_duplicate(texts).tolist() == expected.tolist() == [0, 0, 2, 0]


def test_one_template_with_a_number_takes_no_comparison(monkeypatch):
    """2,000 texts that differ in one number share no rare gram that leaves enough others, so no two are compared."""
    texts = [f"your order number {i} has shipped and will arrive at the front door of your house soon" for i in range(2_000)]
    compared = []
    alike = Forms.are_alike
    monkeypatch.setattr(Forms, "are_alike", lambda self, ones, others: compared.append(len(ones)) or alike(self, ones, others))

    assert eldest_duplicate(texts).tolist() == list(range(2_000))
    assert sum(compared) == 0


def test_no_duplicate_is_missed_among_many_rows():
    """Each of 20,000 texts of words of its own has a near copy behind all of them; so many grams outgrow 32-bit numbers."""
    n = 20_000
    texts = [" ".join(f"{sign}{i}" for sign in "abcdefghijkl") for i in range(n)]

    assert eldest_duplicate([*texts, *(f"{text} more" for text in texts)]).tolist() == [*range(n), *range(n)]


@settings(max_examples=100, deadline=None)
@given(tables_of_near_copies())
def test_a_sketch_rules_out_no_duplicate(texts):
    """Whatever is alike passes the sketch first."""
    forms = Forms.of(texts)
    n = len(forms.gram_starts) - 1
    ones, others = np.repeat(np.arange(n), n), np.tile(np.arange(n), n)

    assert set(np.flatnonzero(forms.are_alike(ones, others))) <= set(forms.may_be_alike(ones, others))
