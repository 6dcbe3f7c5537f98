"""AdamW with a step size per part of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tunewise.training.seen_tokens import SeenRows

if TYPE_CHECKING:
    from collections.abc import Iterator


def adamw(rates: list[tuple[nn.Module, float]], weight_decay: float) -> torch.optim.AdamW:
    """Return the optimizer of every trainable parameter of the given modules.

    Weight matrices are decayed; biases, norms and embeddings are not.

    Args:
        rates: Modules that share no parameter, each with the highest step size of its parameters.
        weight_decay: Share of a weight that a step of size one takes away.

    Source: Loshchilov & Hutter 2019, "Decoupled weight decay regularization", arXiv:1711.05101.
    """
    groups = [group for module, rate in rates for group in _groups(module, rate, weight_decay)]
    return torch.optim.AdamW(groups, fused=True)


def _groups(module: nn.Module, rate: float, weight_decay: float) -> Iterator[dict[str, Any]]:
    looked_up = {
        id(parameter)
        for part in module.modules()
        if isinstance(part, (nn.Embedding, SeenRows))
        for parameter in part.parameters(recurse=False)
    }
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for decay in (weight_decay, 0.0):
        parameters = [p for p in trainable if (p.dim() > 1 and id(p) not in looked_up) == (decay is weight_decay)]
        if parameters:
            yield {"params": parameters, "lr": rate, "weight_decay": decay}
