"""What a budget and class weights make of the training rows."""

import numpy as np
import pytest

from tunewise.contracts import Part
from tunewise.effort import affordable, class_weights


def rows(n):
    """Return a part of n rows."""
    return Part(tuple(f"row{i}" for i in range(n)), tuple(f"text {i}" for i in range(n)), np.arange(n) % 2)


def test_a_budget_takes_rows_in_their_order():
    """The rows stand as they stood, ids beside their texts, and a budget above their number takes them all."""
    taken = affordable(rows(100), 10)
    numbers = [int(name.removeprefix("row")) for name in taken.ids]

    assert len(taken) == 10
    assert numbers == sorted(numbers)
    assert taken.texts == tuple(f"text {i}" for i in numbers)
    assert affordable(rows(100), 100).ids == affordable(rows(100), None).ids == rows(100).ids


def test_appended_rows_displace_few():
    """Of 50 rows taken from 100, 10 appended rows displace at most 10, and position decides nothing."""
    before, after = (set(affordable(rows(n), 50).ids) for n in (100, 110))
    turned = rows(100).take(np.arange(100)[::-1])

    assert len(before - after) <= 10
    assert set(affordable(turned, 50).ids) == before


def test_balanced_weights_by_hand():
    """Of 6 rows 3, 2 and 1 belong to classes 0, 1 and 3: weights 6 / (3 * count); class 2 has no rows and weight 1."""
    weights = class_weights("balanced", np.array([0, 0, 0, 1, 1, 3]), 4)

    assert weights.tolist() == pytest.approx([2 / 3, 1, 1, 2])
    assert class_weights("none", np.array([0, 0, 1]), 2).tolist() == [1, 1]


def test_the_mean_row_weighs_one():
    """Balanced weights leave the loss on its scale."""
    labels = np.repeat([0, 1, 2], [70, 20, 10])

    assert class_weights("balanced", labels, 3)[labels].mean() == pytest.approx(1)
