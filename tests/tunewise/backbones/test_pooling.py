"""Pooling of hidden states."""

import pytest
import torch

from tunewise.backbones.pooling import pool
from tunewise.errors import BackboneError

HIDDEN = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [90.0, 90.0]], [[70.0, 70.0], [5.0, 7.0], [9.0, 1.0]]])
MASK = torch.tensor([[1, 1, 0], [0, 1, 1]])
"""The first row is padded on the right, the second on the left."""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mean", [[2.0, 4.0], [7.0, 4.0]]),
        ("cls", [[1.0, 2.0], [5.0, 7.0]]),
        ("last", [[3.0, 6.0], [9.0, 1.0]]),
    ],
)
def test_two_rows_worked_by_hand(kind, expected):
    """Of two real positions and one padded one, only the real ones are pooled, on whichever side the padding stands."""
    assert pool(HIDDEN, MASK, kind).tolist() == expected


@pytest.mark.parametrize("kind", ["mean", "cls", "last"])
def test_padding_changes_nothing(kind):
    """More padding with other values behind it gives the same vectors bit for bit."""
    longer = torch.cat([HIDDEN[:1], torch.full((1, 4, 2), -5e6)], dim=1)
    mask = torch.cat([MASK[:1], torch.zeros(1, 4, dtype=torch.long)], dim=1)

    assert torch.equal(pool(longer, mask, kind), pool(HIDDEN[:1], MASK[:1], kind))


def test_a_row_without_tokens_has_a_mean_of_zeros():
    """A row with nothing to average gives zeros and no NaN."""
    assert pool(HIDDEN[:1], torch.zeros(1, 3, dtype=torch.long), "mean").tolist() == [[0.0, 0.0]]


def test_gradients_reach_real_positions_alone():
    """The gradient of the mean is 1/n at the n real positions and 0 at padding."""
    hidden = HIDDEN.clone().requires_grad_()
    pool(hidden, MASK, "mean").sum().backward()

    assert hidden.grad[:, :, 0].tolist() == [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]


def test_unknown_pooling_is_answered_with_the_choices():
    """The error names what was given and what would have worked."""
    with pytest.raises(BackboneError, match=r"pooling='max' was given; it is one of 'mean', 'cls', 'last'"):
        pool(HIDDEN, MASK, "max")
