"""AdamW with a step size per part of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import nn

from tunewise.training.seen_tokens import SeenRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


Rate: TypeAlias = "float | Callable[[str], float]"
"""A step size, or what gives it by a parameter's name in its module."""


def adamw(rates: Sequence[tuple[nn.Module, Rate]], weight_decay: float) -> torch.optim.AdamW:
    """Return the optimizer of every trainable parameter of the given modules.

    Weight matrices are decayed; biases, norms and embeddings are not.

    Args:
        rates: Modules that share no parameter, each with the highest step size of its parameters.
        weight_decay: Share of a weight that a step of size one takes away.

    Source: Loshchilov & Hutter 2019, "Decoupled weight decay regularization", arXiv:1711.05101.
    """
    groups = [group for module, rate in rates for group in _groups(module, rate, weight_decay)]
    return torch.optim.AdamW(groups, fused=True)


def _groups(module: nn.Module, rate: Rate, weight_decay: float) -> Iterator[dict[str, Any]]:
    looked_up = {
        id(parameter)
        for part in module.modules()
        if isinstance(part, (nn.Embedding, SeenRows))
        for parameter in part.parameters(recurse=False)
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            decay = weight_decay if parameter.dim() > 1 and id(parameter) not in looked_up else 0.0
            groups.setdefault((rate(name) if callable(rate) else rate, decay), []).append(parameter)
    for (size, decay), parameters in groups.items():
        yield {"params": parameters, "lr": size, "weight_decay": decay}
