"""From columns to classes."""

from datetime import date
from decimal import Decimal
from math import inf, nan

import pytest

from tunewise.data.classes import NO_BAND, NO_LABEL, classes_of_labels, classes_of_ratings, is_missing
from tunewise.errors import DataError
from tunewise.study import Ratings

RATINGS = Ratings(column="stars", bands={"good": {"at_least": 4}, "bad": {"below": 2}})


@pytest.mark.parametrize(
    ("values", "classes", "labels"),
    [
        (["b", "NA", "None", "01", "1", "b"], ("01", "1", "NA", "None", "b"), [4, 2, 3, 0, 1, 4]),
        ([10, 9, -1, 10], (-1, 9, 10), [2, 1, 0, 2]),
        ([True, False], (False, True), [1, 0]),
        (["a", "", None, " \t", "b", nan], ("a", "b"), [0, NO_LABEL, NO_LABEL, NO_LABEL, 1, NO_LABEL]),
        (["1.5", "1", "2"], ("1", "1.5", "2"), [1, 0, 2]),
    ],
)
def test_labels_stay_what_they_are(values, classes, labels):
    """Text is sorted by code point, integers by size, False before True; only null, NaN and blanks are missing."""
    found = classes_of_labels("label", values)

    assert found.classes == classes
    assert [type(label) for label in found.classes] == [type(label) for label in classes]
    assert found.labels.tolist() == labels


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", "a"], r"'label' holds one class, 'a', in all 2 rows\. At least two classes are needed"),
        ([None, ""], r"'label' holds no label at all"),
        (
            [0.5, 1.0, None],
            r"'label' holds decimal numbers, such as 1\.0: a regression target.*Use `ratings` with a band per class",
        ),
        ([Decimal("0.5"), Decimal(1)], r"decimal numbers, such as 1: a regression target"),
        ([["a"], ["a", "b"]], r"several labels a row, such as \['a', 'b'\]: multi-label data\. A row has one class here"),
        ([{"a": 1}], r"several labels a row"),
        ([True, 1], r"'label' mixes bool \(such as True\) and int \(such as 1\), so it is not known which are one class"),
        (["1", 1], r"mixes int \(such as 1\) and str \(such as '1'\)"),
        ([date(2024, 1, 1), date(2024, 1, 2)], r"'label' holds date\. A label is text, an integer or a boolean"),
        ([f"{i / 7:.3f}" for i in range(21)], r"21 different decimal numbers, such as '0\.000': a regression target"),
        ([str(i) for i in range(1_001)], r"1,001 classes in 1,001 rows; at most 1,000 are allowed"),
    ],
)
def test_what_holds_no_classes_is_refused_by_name(values, message):
    """Regression, multi-label, mixed kinds, one class and too many are told apart, each with its remedy."""
    with pytest.raises(DataError, match=message):
        classes_of_labels("label", values)


def test_a_thousand_classes_and_few_decimals_are_allowed():
    """1,000 integers written as text are classes, and so are half stars."""
    assert len(classes_of_labels("label", [str(i) for i in range(1_000)]).classes) == 1_000
    assert len(classes_of_labels("label", [f"{i / 2}" for i in range(10)]).classes) == 10


def test_ratings_become_bands_in_the_studys_order():
    """Numbers, numbers in text and decimals count; NaN, infinity and blanks are no rating."""
    found = classes_of_ratings(RATINGS, [5, "4.0", 1.5, "3", nan, None, "", inf, Decimal(0), "1e0"])

    assert found.classes == ("good", "bad")
    assert found.labels.tolist() == [0, 0, 1, NO_BAND, NO_LABEL, NO_LABEL, NO_LABEL, NO_LABEL, 1, 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([5, 4], r"No row of column 'stars' lies in the band of 'bad'; its 2 ratings go from 4 to 5\. Move the band"),
        ([None, ""], r"the band of 'good', 'bad'; its 0 ratings are all missing"),
        ([5, "2,5"], r"'stars' was named for ratings and holds '2,5', which is no number"),
        ([True], r"holds True, which is no number"),
        ([[1, 2]], r"holds \[1, 2\], which is no number"),
    ],
)
def test_ratings_that_are_none_are_refused(values, message):
    """Text, booleans and lists are no ratings; an empty band is no class."""
    with pytest.raises(DataError, match=message):
        classes_of_ratings(RATINGS, values)


def test_what_is_missing():
    """``NA`` and ``nan`` as text are there; null, NaN and blanks are not."""
    assert [is_missing(x) for x in (None, nan, "", " \n", "NA", "nan", 0, False)] == [True] * 4 + [False] * 4
