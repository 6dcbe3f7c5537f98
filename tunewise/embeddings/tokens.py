"""Texts as token numbers, and their grouping into batches of about equal work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerFast

    from tunewise.contracts import Texts


@dataclass(frozen=True, eq=False)
class Tokens:
    """Token numbers of some texts, without padding. Shapes: one int64 array of its own length per text."""

    ids: tuple[np.ndarray, ...]
    segments: tuple[np.ndarray, ...] | None
    """Which text of a pair a token belongs to; none where the model takes no such numbers."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> np.ndarray:
        """Return the number of tokens of each text. Shape: (n_texts,)."""
        return np.fromiter((len(row) for row in self.ids), dtype=np.int64, count=len(self.ids))

    def take(self, rows: Sequence[int] | np.ndarray) -> Tokens:
        """Return the tokens of the texts ``rows``, in their order."""
        segments = None if self.segments is None else tuple(self.segments[i] for i in rows)
        return Tokens(tuple(self.ids[i] for i in rows), segments)


def tokenize(tokenizer: PreTrainedTokenizerFast, texts: Texts) -> Tokens:
    """Return the tokens of texts and pairs, cut at the tokenizer's limit and with its special tokens.

    A text that leaves no token, as an empty one may where no special tokens are added, becomes one padding token:
    every text has a feature.
    """
    rules = tokenizer.backend_tokenizer
    rules.no_padding()
    rules.enable_truncation(tokenizer.model_max_length, direction=tokenizer.truncation_side)
    encodings = rules.encode_batch_fast(list(texts))
    nothing = [pad_token_id_of(tokenizer)]
    ids = tuple(np.array(encoding.ids or nothing, dtype=np.int64) for encoding in encodings)
    if "token_type_ids" not in tokenizer.model_input_names:
        return Tokens(ids, None)
    return Tokens(ids, tuple(np.array(encoding.type_ids or [0], dtype=np.int64) for encoding in encodings))


def pad_token_id_of(tokenizer: PreTrainedTokenizerFast) -> int:
    """Return the number that stands at masked positions."""
    return cast("int", tokenizer.pad_token_id)


def plan(lengths: np.ndarray, budget: int) -> list[np.ndarray]:
    """Return batches of rows, longest first, each of at most ``budget`` tokens when padded to its longest row.

    A row above the budget is a batch of its own. The longest come first so that the workers end together.

    Shapes:
        lengths (n,) -> row indices, each of 0 to n - 1 once
    """
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = max(1, budget // int(lengths[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches
