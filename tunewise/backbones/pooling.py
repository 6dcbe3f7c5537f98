"""One vector per text out of the hidden states of its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunewise.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor


def pool(hidden: Tensor, mask: Tensor, kind: str) -> Tensor:
    """Return the mean, the first or the last real position of each row.

    Padding may stand on either side; it never reaches the result. A row without a real position gives
    zeros as its mean.

    Shapes:
        hidden (n, t, d), mask (n, t) with 1 at real positions -> (n, d)

    Args:
        hidden: Hidden states of the last layer.
        mask: The attention mask.
        kind: ``mean``, ``cls`` (the first position) or ``last``.

    Raises:
        BackboneError: If ``kind`` is none of these.
    """
    if kind == "mean":
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1.0)
    if kind == "cls":
        return _row_at(hidden, mask.long().argmax(1))
    if kind == "last":
        return _row_at(hidden, mask.shape[1] - 1 - mask.long().flip(1).argmax(1))
    raise BackboneError(f"pooling={kind!r} was given; it is one of 'mean', 'cls', 'last'.")


def _row_at(hidden: Tensor, positions: Tensor) -> Tensor:
    import torch

    return hidden[torch.arange(len(hidden), device=hidden.device), positions]
