"""How numbers and foreign texts are written in sentences, tables and pages."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunewise.contracts import Text
    from tunewise.evaluation.intervals import Estimate

METRIC_TITLES = {"accuracy": "Accuracy", "macro_f1": "Macro-F1", "mcc": "MCC", "log_loss": "Log loss"}
METRIC_NAMES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "mcc": "MCC", "log_loss": "log loss"}
"""As they stand inside a sentence."""

LONGEST_TEXT = 500
"""Characters of a text from the data that a page shows."""


def score(metric: str, value: float | None) -> str:
    """Return a metric's value: accuracy in percent, others with three decimals."""
    if value is None:
        return "–"
    return f"{100 * value:.1f}%" if metric == "accuracy" else minus(f"{value:.3f}")


def interval(metric: str, estimate: Estimate) -> str:
    """Return ``83.4% (82.1 to 84.6)``."""
    ends = " to ".join(score(metric, end).removesuffix("%") for end in (estimate.low, estimate.high))
    return f"{score(metric, estimate.value)} ({ends})"


def gap(metric: str, value: float) -> str:
    """Return the size of a difference: ``5.1 points`` of accuracy, or ``0.051``."""
    return f"{abs(100 * value):.1f} points" if metric == "accuracy" else f"{abs(value):.3f}"


def signed(metric: str, value: float) -> str:
    """Return a difference with its sign and no unit: ``+5.1`` points of accuracy, or ``−0.051``."""
    return minus(f"{100 * value:+.1f}" if metric == "accuracy" else f"{value:+.3f}")


def claim(metric: str, estimate: Estimate) -> str:
    """Return ``83.4% (82.1 to 84.6) of 2,015 test texts right``."""
    if metric == "accuracy":
        return f"{interval(metric, estimate)} of {count(estimate.n_texts)} test texts right"
    return f"{METRIC_NAMES[metric]} {interval(metric, estimate)} on {count(estimate.n_texts)} test texts"


def minus(text: str) -> str:
    """Return a number with a minus sign instead of a hyphen."""
    return text.replace("-", "−")


def count(n: float) -> str:
    """Return a whole number with commas."""
    return f"{n:,.0f}"


def seconds(value: float | None) -> str:
    """Return a duration with two or three digits in the unit that fits: ``0.52 s``, ``96 s``, ``12 min``."""
    if value is None:
        return "–"
    for unit, size, limit in (("ms", 1e-3, 0.1), ("s", 1, 120), ("min", 60, 7_200), ("h", 3_600, float("inf"))):
        if value < limit:
            return f"{_digits(value / size)} {unit}"
    return "–"


def quantity(unit: str, value: float) -> str:
    """Return a value given in ``seconds``, ``milliseconds`` or ``bytes`` in the unit that fits."""
    return size(value) if unit == "bytes" else seconds(value / 1000 if unit == "milliseconds" else value)


def size(n_bytes: float | None) -> str:
    """Return a size in the decimal unit that fits: ``90.9 MB``."""
    if n_bytes is None:
        return "–"
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{_digits(n_bytes / factor)} {unit}"
    return f"{n_bytes:.0f} B"


def share(part: float, whole: float) -> str:
    """Return a share in percent with the digits that tell it from 0 and 100."""
    percent = 100 * part / whole if whole else 0.0
    if part in (0, whole):
        return f"{percent:.0f}%"
    return f"{min(percent, 99.99):.2g}%" if percent < 10 else f"{min(percent, 99.9):.3g}%"


def times(ratio: float) -> str:
    """Return ``3 times``; small ratios with a decimal, large ones rounded to two digits."""
    text = f"{ratio:.1f}".removesuffix(".0") if ratio < 3 else count(float(f"{ratio:.2g}"))
    return f"{text} times"


def listed(names: Sequence[str], *, at_most: int = 3) -> str:
    """Return ``a, b and c``, or ``a, b and 4 others``."""
    shown = list(names) if len(names) <= at_most else [*names[: at_most - 1], f"{len(names) - at_most + 1} others"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def visible(text: object, *, at_most: int = LONGEST_TEXT) -> str:
    """Return a foreign text cut to ``at_most`` characters, with signs that reorder or hide others written out.

    Control and formatting signs (right-to-left overrides, zero bytes) become ``‹U+202E›``, so that a text
    cannot disguise itself or its surroundings; line breaks and tabs become spaces.
    """
    whole = str(text)
    shown = "".join(_visible_sign(sign) for sign in whole[:at_most])
    return f"{shown}… ({count(len(whole))} characters)" if len(whole) > at_most else shown


def clean(sentence: str) -> str:
    """Return a sentence of ours whole, with hidden signs in the names it holds written out."""
    return visible(sentence, at_most=len(sentence))


def sides(text: Text) -> tuple[str, ...]:
    """Return a text as one visible string, a pair as two."""
    return tuple(visible(side) for side in ((text,) if isinstance(text, str) else text))


def _visible_sign(sign: str) -> str:
    if sign in "\n\r\t":
        return " "
    is_joiner = sign in "\u200c\u200d"  # part of words and emoji in many scripts
    is_hidden = unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and not is_joiner
    return f"‹U+{ord(sign):04X}›" if is_hidden else sign


def _digits(value: float) -> str:
    return f"{value:.2g}" if value < 1 else f"{value:.1f}" if value < 100 else count(value)
