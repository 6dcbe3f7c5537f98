"""Plans that cut rows into batches of similar length, and the padded batches.

A step takes a fixed number of rows, so that every row weighs the same whatever its length. Its forward
passes take a limited number of tokens, so that memory is bounded. Both plans are functions of lengths
and a generator alone: the same rows are always cut the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tunewise.embeddings.tokens import pad_token_id_of, tokenize

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

    from tunewise.contracts import Texts
    from tunewise.embeddings.tokens import Tokens

Batch: TypeAlias = "Callable[[np.ndarray], dict[str, Tensor]]"
"""Makes the trunk's padded batch of some rows, by index."""

BATCHES_PER_WINDOW = 32
"""Rows are sorted by length within so many batches: enough that padding all but vanishes, few enough that
the batches of every epoch differ."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Tokens of texts, and the number that pads them."""

    tokens: Tokens
    pad: int

    @property
    def lengths(self) -> np.ndarray:
        """Return the number of tokens of each text. Shape: (n_texts,)."""
        return self.tokens.lengths


def encode(tokenizer: PreTrainedTokenizerFast, texts: Texts) -> Encoded:
    """Return the tokens of ``texts``, cut at the tokenizer's limit."""
    return Encoded(tokenize(tokenizer, texts), pad_token_id_of(tokenizer))


def collate(encoded: Encoded, rows: np.ndarray, device: str) -> dict[str, Tensor]:
    """Return the padded batch of ``rows`` as the model takes it. Shapes: (n_rows, longest)."""
    import torch

    lengths, segments = encoded.lengths[rows], encoded.tokens.segments
    batch = {"input_ids": _padded(encoded.tokens.ids, rows, encoded.pad)}
    batch["attention_mask"] = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    if segments is not None:
        batch["token_type_ids"] = _padded(segments, rows, 0)
    return {name: torch.from_numpy(array).to(device) for name, array in batch.items()}


def epoch_plan(lengths: np.ndarray, batch_size: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Return the batches of one epoch, in random order: every row once, rows of similar length together.

    Rows are shuffled, sorted by length within windows of 32 batches, cut into batches whose sizes differ
    by one at most, and the batches are shuffled.

    Args:
        lengths: Tokens of each row. Shape: (n_rows,).
        batch_size: Most rows per batch.
        generator: Draws both shuffles.
    """
    n_batches = -(-len(lengths) // batch_size)
    shuffled = generator.permutation(len(lengths))
    # Cutting evenly leaves no small last batch, whose rows would count for more than others.
    bounds = np.linspace(0, len(lengths), n_batches + 1).round().astype(np.int64)
    for first in range(0, n_batches, BATCHES_PER_WINDOW):
        start, end = bounds[first], bounds[min(first + BATCHES_PER_WINDOW, n_batches)]
        window = shuffled[start:end]
        shuffled[start:end] = window[np.argsort(lengths[window], kind="stable")]
    return [shuffled[bounds[i] : bounds[i + 1]] for i in generator.permutation(n_batches)]


def passes(rows: np.ndarray, lengths: np.ndarray, max_tokens: int) -> list[np.ndarray]:
    """Return ``rows`` sorted by length and cut so that no padded batch exceeds ``max_tokens``, unless one row does.

    Args:
        rows: Indices into ``lengths``.
        lengths: Tokens of every row there is.
        max_tokens: Most positions of one forward pass, padding included.
    """
    ordered = rows[np.argsort(lengths[rows], kind="stable")]
    cuts, start = [], 0
    for i, row in enumerate(ordered):
        if i > start and (i + 1 - start) * lengths[row] > max_tokens:
            cuts.append(i)
            start = i
    return np.split(ordered, cuts) if len(ordered) else []


def _padded(values: tuple[np.ndarray, ...], rows: np.ndarray, fill: int) -> np.ndarray:
    padded = np.full((len(rows), max(len(values[row]) for row in rows)), fill, dtype=np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(values[row])] = values[row]
    return padded
