"""Features of any encoder or decoder that transformers knows: padded batches through its own forward pass."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from tunewise.backbones.pooling import pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from torch import Tensor

    from tunewise.embeddings.tokens import Tokens


class Padded:
    """A trunk that answers a batch of texts with their pooled, L2-normalised features."""

    def __init__(self, trunk: Any, pooling: str, place: str, dtype: torch.dtype, pad_token_id: int) -> None:
        """Move the trunk to its device and precision.

        Args:
            trunk: The model without pooler and head, in evaluation mode.
            pooling: ``mean``, ``cls`` or ``last``.
            place: ``cpu`` or ``cuda``.
            dtype: Precision of weights and products; pooling is done in float32.
            pad_token_id: Stands at masked positions.
        """
        self._trunk = trunk.to(device=place, dtype=dtype)
        self._pooling, self._place, self._pad_token_id = pooling, place, pad_token_id
        self._takes = signature(trunk.forward).parameters.keys()

    @torch.inference_mode()
    def __call__(self, tokens: Tokens) -> np.ndarray:
        """Return one feature per text.

        Shapes:
            n texts -> (n, d), float32
        """
        lengths = torch.from_numpy(tokens.lengths)
        mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long().to(self._place)
        batch: dict[str, Any] = {"input_ids": self._padded(tokens.ids, self._pad_token_id), "attention_mask": mask}
        if tokens.segments is not None and "token_type_ids" in self._takes:
            batch["token_type_ids"] = self._padded(tokens.segments, 0)
        if "use_cache" in self._takes:
            batch["use_cache"] = False
        hidden = self._trunk(**batch).last_hidden_state
        return functional.normalize(pool(hidden.float(), mask, self._pooling), dim=1).cpu().numpy()

    def _padded(self, rows: Sequence[np.ndarray], value: int) -> Tensor:
        tensors = [torch.from_numpy(row) for row in rows]
        return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value).to(self._place)
