"""Modules that methods put into or around a frozen trunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutput

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

DOWN_DEVIATION = 0.01
"""Standard deviation of the first downward weights, truncated at two of it, as in Houlsby et al. 2019, section 3.6."""

_POSITION_TABLES = ("position_embeddings", "wpe")
"""What architectures call the table of their learned positions."""


class Bottleneck(nn.Module):
    """A layer followed by ``h + up(gelu(down(h)))``; the upward weights start at zero, so at first ``h`` passes unchanged."""

    def __init__(self, layer: nn.Module, width: int, size: int) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Linear(width, size)
        self.up = nn.Linear(size, width)
        nn.init.trunc_normal_(self.down.weight, std=DOWN_DEVIATION, a=-2 * DOWN_DEVIATION, b=2 * DOWN_DEVIATION)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that the layer it stands for is called with
        """Return what the layer gives, corrected. Shape: (..., width)."""
        found = self.layer(input)
        return found + self.up(functional.gelu(self.down(found)))


class SoftPrompted(nn.Module):
    """A model that reads trained vectors before the embedded text.

    Args:
        model: The trunk.
        length: Number of vectors.
        is_pooled: Whether the hidden states of the vectors are handed on with those of the text.
        positions: ``own``: learned positions of the text count as if nothing stood before it; ``shifted``: the text
            stands behind the vectors. Relative positions do not tell these apart.
    """

    def __init__(self, model: PreTrainedModel, length: int, *, is_pooled: bool, positions: Literal["own", "shifted"]) -> None:
        super().__init__()
        self.model = model
        # As an embedding, because embeddings are not decayed.
        self.prompt = nn.Embedding(length, embedding_width(model))
        self._is_pooled = is_pooled
        self._first = first_position(model) if positions == "own" else None

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None, **options: Any) -> Any:
        """Return the hidden states of the text, behind those of the vectors where these are pooled too."""
        n = len(self.prompt.weight)
        read = self.model.get_input_embeddings()(input_ids)
        options["inputs_embeds"] = torch.cat([self.prompt.weight.to(read.dtype).expand(len(read), -1, -1), read], 1)
        options["attention_mask"] = functional.pad(attention_mask, (n, 0), value=1)
        if token_type_ids is not None:
            options["token_type_ids"] = functional.pad(token_type_ids, (n, 0))
        if self._first is not None:
            counted = [torch.arange(length, device=input_ids.device) for length in (n, input_ids.shape[1])]
            options["position_ids"] = self._first + torch.cat(counted).unsqueeze(0)
        hidden = self.model(**options).last_hidden_state
        return BaseModelOutput(last_hidden_state=hidden if self._is_pooled else hidden[:, n:])


def embedding_width(model: PreTrainedModel) -> int:
    """Return the width of the token embeddings, which is not always that of the hidden states."""
    table: Any = model.get_input_embeddings()
    return int(table.weight.shape[1])


def position_table(model: PreTrainedModel) -> nn.Embedding | None:
    """Return the table of learned positions, or nothing where positions are relative."""
    found = (module for name, module in model.named_modules() if name.rpartition(".")[2] in _POSITION_TABLES)
    return next((module for module in found if isinstance(module, nn.Embedding)), None)


def first_position(model: PreTrainedModel) -> int | None:
    """Return the row of the first token in the table of learned positions, or nothing where there is no table."""
    table = position_table(model)
    if table is None:
        return None
    # RoBERTa and its kin keep a row for padding and count from the one after it.
    return 0 if table.padding_idx is None else table.padding_idx + 1


def n_positions(model: PreTrainedModel) -> int | None:
    """Return how many tokens the table of learned positions serves, or nothing where there is no table."""
    table, first = position_table(model), first_position(model)
    return None if table is None or first is None else len(table.weight) - first
