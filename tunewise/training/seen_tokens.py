"""Trains of a token embedding only the rows that occur: the same steps, without gradients for the rest.

Of a vocabulary of 30,000 word pieces a data set uses a part, yet the gradient of the whole table is
filled, clipped and stepped each time; in a small encoder that table is half of all parameters. A row that
never occurs has a zero gradient, and without weight decay AdamW leaves it where it is. So nothing changes
but the time.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor
    from transformers import PreTrainedModel


class SeenRows(nn.Module):
    """Stands for ``full`` while training; knows every token once it is switched to evaluation."""

    def __init__(self, full: nn.Embedding, seen: Tensor) -> None:
        super().__init__()
        self.full = full.requires_grad_(requires_grad=False)
        self.seen: Tensor = nn.Buffer(seen, persistent=False)
        self.place: Tensor = nn.Buffer(torch.zeros(len(full.weight), dtype=torch.long, device=seen.device), persistent=False)
        self.place[seen] = torch.arange(len(seen), device=seen.device)
        self.weight = nn.Parameter(full.weight.detach()[seen])

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows of ``ids``; tokens that training does not have read a wrong row there, so padding must be masked."""
        return functional.embedding(self.place[ids], self.weight) if self.training else self.full(ids)

    def train(self, mode: bool = True) -> SeenRows:
        """Switch the mode; evaluation begins with writing the trained rows into the full table."""
        if not mode:
            with torch.no_grad():
                self.full.weight[self.seen] = self.weight
        return super().train(mode)


@contextmanager
def only_seen_tokens(trunk: PreTrainedModel, seen: Tensor) -> Iterator[None]:
    """Train only the embedding rows ``seen`` inside the block; the model is whole again after it.

    An embedding that does more than look up, or that is not trained, is left alone.
    """
    table = trunk.get_input_embeddings()
    if type(table) is not nn.Embedding or not table.weight.requires_grad:
        yield
        return
    rows = SeenRows(table, seen.to(table.weight.device))
    trunk.set_input_embeddings(rows)
    try:
        yield
    finally:
        rows.eval()
        trunk.set_input_embeddings(table.requires_grad_())
