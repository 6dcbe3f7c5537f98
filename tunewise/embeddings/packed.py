"""The forward pass of BERT without padding: the tokens of a batch stand in one matrix, text after text.

Every linear layer sees only real tokens. Its weights are reordered once into the blocks that oneDNN multiplies
fastest, query, key and value as one matrix, and what follows a product (GELU, the residual sum) is done while
its result is still in the cache. Texts of one length attend together, so that attention needs no mask.

Source: Devlin et al. 2019, "BERT", arXiv:1810.04805, for the model; packing as in Zeng et al. 2022,
"Boosting Distributed Training Performance of the Unpadded BERT Model", arXiv:2208.08124.
Differs from the source: the order of rounding, so that features agree within 1e-5 in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunewise.embeddings.tokens import Tokens

ACTIVATIONS = {
    "gelu": ("gelu", "none"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
}
"""oneDNN's name and variant of each activation that it applies within a product."""

SAFE_SCORE = 30.0
"""Attention scores within this bound are exponentiated as they are: the sum of 4,096 of them stays finite in bfloat16,
and a score is rounded by a sixteenth at most."""


@dataclass(frozen=True, eq=False)
class _Linear:
    """A linear layer in oneDNN's order."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor, activation: tuple[str, str] = ("none", "")) -> Tensor:
        name, variant = activation
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, name, [], variant)  # noqa: SLF001 - oneDNN's only door

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Return the layer's answer to ``x`` with ``residual`` added."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")  # noqa: SLF001 - oneDNN's only door


@dataclass(frozen=True, eq=False)
class _Norm:
    """A layer normalisation."""

    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True, eq=False)
class _Layer:
    """One block of the encoder."""

    query_key_value: _Linear
    attention_output: _Linear
    attention_norm: _Norm
    up: _Linear
    down: _Linear
    output_norm: _Norm


def is_packable(trunk: Any, dtype: torch.dtype) -> bool:
    """Say whether ``trunk`` is a BERT encoder that this processor's oneDNN can run in ``dtype``."""
    config = trunk.config
    onednn = torch.ops.mkldnn
    return (
        type(trunk).__name__ == "BertModel"
        and not config.is_decoder
        and config.hidden_act in ACTIVATIONS
        and torch.backends.mkldnn.is_available()
        and hasattr(onednn, "_linear_pointwise")
        and (dtype == torch.float32 or onednn._is_mkldnn_bf16_supported())  # noqa: SLF001 - oneDNN's only door
    )


class PackedBert:
    """A BERT encoder that answers a batch of texts with their pooled, L2-normalised features.

    It only reads its weights, so that several threads may use it at once.
    """

    def __init__(self, trunk: Any, pooling: str, dtype: torch.dtype, budget: int) -> None:
        """Reorder the weights of a `transformers.BertModel`.

        Args:
            trunk: The model, in float32; what is not reordered is shared with it.
            pooling: ``mean``, ``cls`` or ``last``.
            dtype: float32 or bfloat16.
            budget: Tokens of a usual batch, which oneDNN chooses its order for.
        """
        config = trunk.config
        self._pooling, self._dtype, self._budget = pooling, dtype, budget
        self._n_heads, self._activation = config.num_attention_heads, ACTIVATIONS[config.hidden_act]
        embeddings = trunk.embeddings
        self._words, self._positions, self._segments = (
            table.weight.detach()
            for table in (embeddings.word_embeddings, embeddings.position_embeddings, embeddings.token_type_embeddings)
        )
        # Four sums per token: float32 costs nothing here and starts the sequence of roundings one step later.
        self._norm = self._normed(embeddings.LayerNorm, torch.float32)
        self._layers = [self._packed(block) for block in trunk.encoder.layer]

    @torch.inference_mode()
    def __call__(self, tokens: Tokens) -> np.ndarray:
        """Return one feature per text.

        Shapes:
            n texts, sorted by length -> (n, d), float32
        """
        groups = [(length, len(list(run))) for length, run in groupby(tokens.lengths.tolist())]
        x = self._embedded(tokens, groups)
        for layer in self._layers:
            attended = self._attended(layer.query_key_value(x), groups)
            x = layer.attention_norm(layer.attention_output.plus(attended, x))
            x = layer.output_norm(layer.down.plus(layer.up(x, self._activation), x))
        pooled = torch.cat([self._pooled(hidden.float()) for hidden in _by_text(x, groups)])
        return functional.normalize(pooled, dim=1).numpy()

    def _embedded(self, tokens: Tokens, groups: list[tuple[int, int]]) -> Tensor:
        ids = torch.from_numpy(np.concatenate(tokens.ids))
        positions = torch.cat([torch.arange(length).repeat(n) for length, n in groups])
        summed = self._words[ids] + self._positions[positions]
        if tokens.segments is None:
            summed += self._segments[0]
        else:
            summed += self._segments[torch.from_numpy(np.concatenate(tokens.segments))]
        return self._norm(summed).to(self._dtype)

    def _attended(self, query_key_value: Tensor, groups: list[tuple[int, int]]) -> Tensor:
        """Shapes: (tokens, 3 d) -> (tokens, d)."""
        attended = query_key_value.new_empty(len(query_key_value), query_key_value.shape[1] // 3)
        for part, place in zip(_by_text(query_key_value, groups), _by_text(attended, groups), strict=True):
            n, length, width = place.shape
            heads = (n, length, self._n_heads, width // self._n_heads)
            q, k, v = part.view(n, length, 3, *heads[2:]).permute(2, 0, 3, 1, 4).unbind()
            place.view(heads).copy_(attend(q, k, v).transpose(1, 2))
        return attended

    def _pooled(self, hidden: Tensor) -> Tensor:
        """Shapes: (n, length, d) -> (n, d)."""
        if self._pooling == "mean":
            return hidden.mean(1)
        return hidden[:, 0 if self._pooling == "cls" else -1]

    def _packed(self, block: Any) -> _Layer:
        attention = block.attention
        return _Layer(
            query_key_value=self._joined(attention.self),
            attention_output=self._reordered(attention.output.dense.weight, attention.output.dense.bias),
            attention_norm=self._normed(attention.output.LayerNorm, self._dtype),
            up=self._reordered(block.intermediate.dense.weight, block.intermediate.dense.bias),
            down=self._reordered(block.output.dense.weight, block.output.dense.bias),
            output_norm=self._normed(block.output.LayerNorm, self._dtype),
        )

    def _joined(self, attention: Any) -> _Linear:
        """Return query, key and value as one layer; the query carries the scale of the scores."""
        scale = attention.attention_head_size**-0.5
        weight = torch.cat([attention.query.weight * scale, attention.key.weight, attention.value.weight])
        bias = torch.cat([attention.query.bias * scale, attention.key.bias, attention.value.bias])
        return self._reordered(weight, bias)

    def _reordered(self, weight: Tensor, bias: Tensor) -> _Linear:
        reorder = torch.ops.mkldnn._reorder_linear_weight  # noqa: SLF001 - oneDNN's only door
        return _Linear(reorder(weight.detach().to(self._dtype), self._budget), bias.detach().to(self._dtype))

    @staticmethod
    def _normed(norm: Any, dtype: torch.dtype) -> _Norm:
        return _Norm(norm.weight.detach().to(dtype), norm.bias.detach().to(dtype), norm.eps)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return ``softmax(q k') v`` of texts of one length; the scale of the scores is in ``q`` already.

    torch's softmax and its fused attention take longer over the short rows of bfloat16 scores than all products
    together. Where every score is small enough, exp needs no maximum taken out of it, and the division by the
    sum can wait until the rows are as narrow as a head.

    Shapes:
        q, k, v: (n, heads, length, d / heads) -> the same
    """
    if q.dtype == torch.bfloat16:
        n, heads, length, width = q.shape
        flat = (n * heads, length, width)
        scores = torch.bmm(q.reshape(flat), k.reshape(flat).transpose(1, 2))
        low, high = torch.aminmax(scores)
        if max(high.item(), -low.item()) < SAFE_SCORE:
            weights = scores.exp_()
            return torch.bmm(weights, v.reshape(flat)).div_(weights.sum(2, keepdim=True)).view(n, heads, length, width)
    return functional.scaled_dot_product_attention(q, k, v, scale=1.0)


def _by_text(x: Tensor, groups: list[tuple[int, int]]) -> Iterator[Tensor]:
    """Yield the rows of each group as a view. Shapes: (tokens, d) -> (n, length, d)."""
    start = 0
    for length, n in groups:
        yield x[start : start + n * length].view(n, length, -1)
        start += n * length
