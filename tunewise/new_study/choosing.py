"""Which column is what, by evidence that can be said; what cannot be decided is an error with the candidates."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from tunewise.data.classes import MAX_CLASSES, classes_of_labels
from tunewise.data.tables import side_of
from tunewise.errors import DataError
from tunewise.study import BUDGETS, MAX_NAME, RESERVED_NAMES
from tunewise.verdict.wording import count, visible

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tunewise.new_study.looking import Column, Looked

TEXT_NAMES = (
    *("text", "sentence", "review", "content", "body", "message", "comment", "utterance", "question", "query", "tweet"),
    *("document", "snippet", "abstract", "description", "title", "headline", "prompt", "input"),
)
PAIRS = (
    *(("premise", "hypothesis"), ("question", "sentence"), ("question1", "question2"), ("sentence1", "sentence2")),
    *(("sentence_a", "sentence_b"), ("text_a", "text_b"), ("text1", "text2"), ("text_1", "text_2"), ("query", "passage")),
    *(("query", "document"), ("question", "answer"), ("question", "passage"), ("claim", "evidence"), ("s1", "s2")),
)
LABEL_NAMES = (
    *("label", "labels", "class", "category", "target", "intent", "queue", "topic", "sentiment", "gold", "gold_label"),
    *("polarity", "emotion", "tag", "type", "y"),
)
RATING_NAMES = ("rating", "ratings", "score", "stars", "grade", "points")
ID_NAMES = ("id", "uid", "guid", "uuid", "idx", "index", "key", "row_id", "text_id", "example_id")
SIDE_NAMES = ("split", "side", "set", "fold", "part", "partition", "subset")

MIN_CHARACTERS = 12
"""Mean length of what is called a text without its name saying so."""
MIN_DISTINCT_SHARE = 0.3
CLEARLY_LONGER = 3
"""A text column so many times longer than the next is the one."""
MOST_STARS = 5
"""A column called rating with more values is cut into bands; fewer are classes themselves."""
IMBALANCED, VERY_IMBALANCED = 3, 10
"""Rows of the largest class over those of the smallest, from which accuracy hides the small ones, and from which they
are weighted."""
FEW_PER_CLASS = 20
"""Training rows a class, below which the quick budget says little."""
SHOWN = 3


@dataclass(frozen=True)
class Asked:
    """What the user decided and need not be guessed."""

    text: tuple[str, ...] = ()
    label: str | None = None
    backbone: str | None = None


@dataclass(frozen=True)
class Chosen:
    """A study's fields with the evidence for each, ready to be written."""

    name: str
    text: tuple[str, ...]
    label: str | None
    ratings: tuple[str, dict[str, dict[str, float]]] | None
    """Column and bands, instead of a label."""
    id: str | None
    side: str | None
    metric: str
    class_weights: str
    budget: str
    backbone: str | None
    n_rows: int
    reasons: dict[str, list[str]] = field(default_factory=dict)
    """Sentences by the field they are about."""


def choose(looked: Looked, asked: Asked, taken: Collection[str] = ()) -> Chosen:
    """Return what a study of the table says.

    Args:
        looked: The table.
        asked: What is not to be guessed.
        taken: Names that other studies have.

    Raises:
        DataError: If a column cannot be decided, naming the candidates and the option that decides.
    """
    reasons: dict[str, list[str]] = {}
    side = _side(looked, reasons)
    text = _texts(looked, asked, reasons)
    rest = [column for column in looked.columns if column.name not in (*text, side)]
    identity = _identity([column for column in rest if column.name != asked.label], reasons)
    label, ratings = _label(looked, [column for column in rest if column.name != identity], asked, reasons)
    sizes = _sizes(looked, label, ratings)
    weights, metric = _balance(sizes, reasons)
    return Chosen(
        name=_name(looked, taken),
        text=text,
        label=label,
        ratings=ratings,
        id=identity,
        side=side,
        metric=metric,
        class_weights=weights,
        budget=_budget(sizes, reasons),
        backbone=asked.backbone,
        n_rows=looked.n_rows,
        reasons=reasons,
    )


def _texts(looked: Looked, asked: Asked, reasons: dict[str, list[str]]) -> tuple[str, ...]:
    if asked.text:
        if len(asked.text) > 2:
            raise DataError(f"--text was given {len(asked.text)} times. A text is one column, or two that are judged as a pair.")
        reasons["text"] = ["As you said."]
        return tuple(looked.column(name).name for name in asked.text)
    texts = [column for column in looked.columns if column.name != asked.label and _is_textual(column)]
    by_name = {_folded(column.name): column for column in texts}
    for one, other in PAIRS:
        if one in by_name and other in by_name:
            reasons["text"] = [f"Two texts that are judged together, by their names; {_length(by_name[one])}."]
            return by_name[one].name, by_name[other].name
    chosen = _the_text(looked, texts, by_name)
    others = [column for column in texts if column is not chosen]
    reasons["text"] = [f"{_length(chosen)}, {count(len(chosen.distinct))} different ones."]
    if others:
        reasons["text"].append(f"Other texts: {_shown(others)}. For a pair: [{chosen.name}, {others[0].name}].")
    return (chosen.name,)


def _the_text(looked: Looked, texts: list[Column], by_name: dict[str, Column]) -> Column:
    if len(texts) == 1:
        return texts[0]
    if named := next((by_name[name] for name in TEXT_NAMES if name in by_name), None):
        return named
    longest = sorted(texts, key=lambda column: -column.mean_characters)
    if texts and longest[0].mean_characters >= CLEARLY_LONGER * longest[1].mean_characters:
        return longest[0]
    candidates = (
        _shown(longest) if texts else f"none of {', '.join(repr(column.name) for column in looked.columns)} looks like it"
    )
    raise DataError(
        f"{looked.given}: it cannot be told which column holds the text. Candidates: {candidates}. "
        "Say so with --text COLUMN, or with --text twice for a pair."
    )


def _is_textual(column: Column) -> bool:
    if not column.is_text or column.numbers is not None:
        return False
    is_long = column.mean_characters >= MIN_CHARACTERS and len(column.distinct) >= MIN_DISTINCT_SHARE * len(column.present)
    # A name alone makes a text of short ones, unless they repeat as classes do.
    return is_long or (_folded(column.name) in TEXT_NAMES and 2 * len(column.distinct) > len(column.present))


def _label(
    looked: Looked, columns: list[Column], asked: Asked, reasons: dict[str, list[str]]
) -> tuple[str | None, tuple[str, dict[str, dict[str, float]]] | None]:
    if asked.label is not None:
        column = looked.column(asked.label)
        return _as_ratings(column, reasons) if _is_measure(column) else (_said(column, [], reasons), None)
    candidates = [column for column in columns if _holds_classes(column) and not _is_measure(column)]
    by_name = {_folded(column.name): column for column in candidates}
    named = next((by_name[name] for name in LABEL_NAMES if name in by_name), None)
    if named is None and len(candidates) == 1:
        named = candidates[0]
    if named is not None:
        return _said(named, [column for column in candidates if column is not named], reasons), None
    measures = [column for column in columns if _is_measure(column)]
    rating = next((column for column in measures if _folded(column.name) in RATING_NAMES), None)
    if rating is None and len(measures) == 1 and not candidates:
        rating = measures[0]
    if rating is not None:
        return _as_ratings(rating, reasons)
    found = _counted_values([*candidates, *measures]) or "no column repeats 2 to 1,000 values"
    raise DataError(
        f"{looked.given}: it cannot be told which column holds the classes. Candidates: {found}. Say so with --label COLUMN."
    )


def _said(column: Column, others: list[Column], reasons: dict[str, list[str]]) -> str:
    """Note the evidence for a label column and return its name."""
    found = classes_of_labels(column.name, column.cells)
    counts = Counter(column.present)
    told = [f"{_value(label)} {count(n)}" for label, n in counts.most_common(SHOWN)]
    rest = f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
    reasons["label"] = [f"{len(found.classes)} values in {count(len(column.present))} rows: {', '.join(told)}{rest}."]
    if n_missing := len(column.cells) - len(column.present):
        reasons["label"].append(f"{count(n_missing)} rows without one are left out.")
    if others:
        reasons["label"].append(f"It could also be {_counted_values(others)}.")
    return column.name


def _as_ratings(column: Column, reasons: dict[str, list[str]]) -> tuple[None, tuple[str, dict[str, dict[str, float]]]]:
    """Return two bands, the lowest and the highest third; what lies between is left out."""
    numbers = sorted(column.numbers or ())
    low, high = (float(f"{cut:.4g}") for cut in quantiles(numbers, n=3))
    if low >= high:
        low = high = float(f"{(numbers[0] + numbers[-1]) / 2:.4g}")
    bands = {"low": {"at_most": low}, "high": {"at_least": high} if high > low else {"above": high}}
    n_each = sum(x <= low for x in numbers), sum(x >= high if high > low else x > high for x in numbers)
    reasons["ratings"] = [
        f"{count(len(column.distinct))} different numbers from {numbers[0]:g} to {numbers[-1]:g}, so they are cut into bands.",
        f"The lowest and the highest third: {count(n_each[0])} and {count(n_each[1])} rows; the others are left out.",
        "Choose bounds that mean something to you, give the bands your names, or add more of them.",
    ]
    return None, (column.name, bands)


def _holds_classes(column: Column) -> bool:
    n = len(column.distinct)
    if not 2 <= n <= min(MAX_CLASSES, max(2, len(column.present) // 2)):
        return False
    try:
        classes_of_labels(column.name, column.cells)
    except DataError:
        return False
    return True


def _is_measure(column: Column) -> bool:
    """Say whether a column holds numbers that measure: with fractions, or called a rating and of more values than stars have."""
    if column.numbers is None or len(column.distinct) < 2:
        return False
    is_fractional = not all(number.is_integer() for number in column.numbers)
    return (is_fractional and len(column.distinct) > MOST_STARS) or (
        _folded(column.name) in RATING_NAMES and len(column.distinct) > MOST_STARS
    )


def _identity(columns: list[Column], reasons: dict[str, list[str]]) -> str | None:
    for column in columns:
        folded = _folded(column.name)
        is_called_so = folded in ID_NAMES or folded.endswith("_id")
        if is_called_so and column.is_unique and not any(isinstance(cell, float) for cell in column.present):
            reasons["id"] = [f"A value of its own in each of {count(len(column.cells))} rows."]
            return column.name
        if is_called_so and 2 * len(column.distinct) > len(column.cells):
            n = len(column.cells) - len(column.distinct)
            reasons["id"] = [f"{column.name!r} repeats or lacks {count(n)} values, so rows are known by their text."]
    return None


def _side(looked: Looked, reasons: dict[str, list[str]]) -> str | None:
    if looked.beside or looked.hub_sides:
        return None
    for column in looked.columns:
        sides = Counter(side_of(str(cell)) for cell in column.cells) if _folded(column.name) in SIDE_NAMES else Counter()
        if len(sides) >= 2 and None not in sides:
            told = ", ".join(f"{count(n)} {side}" for side, n in sides.most_common())
            reasons["split"] = [f"The table says the side of each row: {told}."]
            return column.name
    return None


def _sizes(looked: Looked, label: str | None, ratings: tuple[str, dict[str, dict[str, float]]] | None) -> list[int]:
    """Return the rows of each class, the largest first."""
    if label is not None:
        return sorted(Counter(looked.column(label).present).values(), reverse=True)
    column, bands = ratings or ("", {})
    numbers = looked.column(column).numbers or ()
    return sorted((sum(_lies_in(x, band) for x in numbers) for band in bands.values()), reverse=True)


def _lies_in(rating: float, band: dict[str, float]) -> bool:
    return rating <= band.get("at_most", rating) and rating >= band.get("at_least", rating) and rating > band.get("above", -1e308)


def _balance(sizes: Sequence[int], reasons: dict[str, list[str]]) -> tuple[str, str]:
    ratio = sizes[0] / max(1, sizes[-1])
    if ratio < IMBALANCED:
        reasons["metric"] = [f"The largest class has {ratio:.1f} times the rows of the smallest. Also: macro_f1, mcc, log_loss."]
        return "none", "accuracy"
    told = f"The largest class has {count(sizes[0])} rows, the smallest {count(sizes[-1])}"
    reasons["metric"] = [f"{told}; accuracy would hardly see the small ones. Also: accuracy, mcc, log_loss."]
    if ratio < VERY_IMBALANCED:
        return "none", "macro_f1"
    reasons["class_weights"] = ["Small classes weigh as much as large ones in training, since they are so few. Also: none."]
    return "balanced", "macro_f1"


def _budget(sizes: Sequence[int], reasons: dict[str, list[str]]) -> str:
    most = BUDGETS["quick"].max_train_rows or sum(sizes)
    n_rows = sum(sizes)
    per_class = most / len(sizes)
    if n_rows > most and per_class < FEW_PER_CLASS:
        reasons["budget"] = [
            f"quick takes {count(most)} training rows, {per_class:.0f} a class: too few to say much.",
            "standard takes all rows and 3 epochs, thorough 5; `tunewise plan` tells what they cost.",
        ]
        return "standard"
    reasons["budget"] = [
        f"quick takes at most {count(most)} training rows and 2 epochs, for a first look.",
        "standard takes all rows and 3 epochs, thorough 5; `tunewise plan` tells what they cost.",
    ]
    return "quick"


def _name(looked: Looked, taken: Collection[str]) -> str:
    """Return a study's name made of the table's, or of its folder's where the table is called after a side."""
    if isinstance(looked.source, str):
        stem = looked.source.partition("@")[0].rpartition("/")[2]
    else:
        stem = looked.source.name.partition(".")[0]
        words = [word for word in re.split(r"[^A-Za-z0-9]+", stem) if word and side_of(word) is None]
        stem = "_".join(words) or looked.source.absolute().parent.name
    slug = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
    slug = slug if re.match(r"[a-z]", slug) else f"study_{slug}".rstrip("_")
    slug = slug[: MAX_NAME - 4].rstrip("_")
    tries = (slug, *(f"{slug}_{n}" for n in range(2, len(taken) + 3)))
    return next(name for name in tries if name not in taken and name not in RESERVED_NAMES)


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def _length(column: Column) -> str:
    return f"{count(column.mean_characters)} characters on average in {count(len(column.present))} rows"


def _shown(columns: Sequence[Column]) -> str:
    return ", ".join(f"{column.name!r} ({_length(column)})" for column in columns[: 2 * SHOWN])


def _counted_values(columns: Sequence[Column]) -> str:
    return ", ".join(f"{column.name!r} ({count(len(column.distinct))} values)" for column in columns[: 2 * SHOWN])


def _value(value: Any) -> str:
    return repr(visible(value, at_most=40)) if isinstance(value, str) else str(value)
