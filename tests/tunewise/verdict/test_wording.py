"""How numbers and foreign texts are written."""

from tunewise.verdict.wording import clean, listed, quantity, score, seconds, share, sides, size, times, visible


def test_seconds_take_the_unit_that_fits():
    """Milliseconds to hours, never a row of zeros."""
    told = {0.0004: "0.4 ms", 0.02: "20.0 ms", 0.52: "0.52 s", 9.04: "9.0 s", 119: "119 s", 720: "12.0 min", 8_000: "2.2 h"}

    assert {given: seconds(given) for given in told} == told
    assert seconds(None) == "–"


def test_other_numbers():
    """Sizes, shares, ratios and scores in the digits a reader needs."""
    assert [size(n) for n in (80, 4_000, 90_900_000, 1.4e9)] == ["80 B", "4.0 kB", "90.9 MB", "1.4 GB"]
    assert [share(n, 22_713_216) for n in (0, 770, 75_000, 22_713_000, 22_713_216)] == ["0%", "0.0034%", "0.33%", "99.9%", "100%"]
    assert [times(ratio) for ratio in (1.53, 2.04, 3.4, 188.0)] == ["1.5 times", "2 times", "3 times", "190 times"]
    assert (score("accuracy", 0.8344), score("mcc", -0.0123), score("log_loss", None)) == ("83.4%", "−0.012", "–")
    assert (quantity("milliseconds", 9.0), quantity("bytes", 1e6)) == ("9.0 ms", "1.0 MB")


def test_names_are_listed_as_in_a_sentence():
    """One, two, three, and then how many others."""
    assert [listed(list("abcde")[:n]) for n in (1, 2, 3, 5)] == ["a", "a and b", "a, b and c", "a, b and 3 others"]


def test_a_long_text_is_cut_and_says_how_long_it_was():
    """A line of a megabyte becomes 500 characters and its length."""
    shown = visible("x" * 1_000_000)

    assert shown == "x" * 500 + "… (1,000,000 characters)"


def test_hidden_signs_are_written_out():
    """Overrides, separators and control characters are seen; joiners and accents stay, line breaks become spaces."""
    assert visible("a\u202eb\u2028c\x00d") == "a‹U+202E›b‹U+2028›c‹U+0000›d"
    assert visible("e\u0301 👩\u200d🔬 שלום\n!") == "e\u0301 👩\u200d🔬 שלום !"
    assert clean("\u2066" + "x" * 900) == "‹U+2066›" + "x" * 900


def test_a_pair_has_two_sides():
    """A text is one side, a pair two, each cut by itself."""
    assert sides("one") == ("one",)
    assert sides(("one", "two\u202e")) == ("one", "two‹U+202E›")
