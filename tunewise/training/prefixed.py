"""Trained keys and values that every block attends to beside the text's own.

An architecture that computes attention through transformers' attention interface is given a function of ours there:
it puts the block's prefix before the keys and values and computes attention as ever. DeBERTa computes its own, so its
attention reads a few positions more, whose keys and values are replaced by the prefix.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention

from tunewise.backbones.loading import quiet
from tunewise.errors import BackboneError
from tunewise.training.blocks import blocks_of, put

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from torch import Tensor
    from transformers import PreTrainedModel

    Pair: TypeAlias = tuple[Tensor, Tensor]
    """Keys and values of one block. Shapes: (n_key_heads, length, head_width)."""

IMPLEMENTATION = "tunewise_prefix"
"""The name under which transformers finds the attention function."""


class Prefix(nn.Module):
    """Keys and values of every block, trained as they are."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        super().__init__()
        self.keys, self.values = (
            # Contiguous, because a stored state of the optimizer is, and its fused steps take tensors by their memory.
            nn.ParameterList([nn.Parameter(tensor.clone(memory_format=torch.contiguous_format)) for tensor in tensors])
            for tensors in zip(*pairs, strict=True)
        )

    def forward(self) -> list[Pair]:
        """Return them, from the lowest block up."""
        return list(zip(self.keys, self.values, strict=True))


class Reparametrised(nn.Module):
    """Keys and values of every block as first ones and what a small network adds, which is nothing at first.

    Source: Li & Liang 2021, section 4.3: ``P[i] = MLP(P'[i])``, one hidden layer with tanh.
    """

    def __init__(self, pairs: Sequence[Pair], width: int, mid_dim: int) -> None:
        super().__init__()
        self._shapes = [key.shape for key, _ in pairs]
        heads, length, head_width = zip(*self._shapes, strict=True)
        start = torch.cat([_as_rows(tensor) for pair in pairs for tensor in pair], 1)
        self.start: Tensor = nn.Buffer(start, persistent=False)
        self.rows = nn.Embedding(length[0], width)
        self.hidden = nn.Linear(width, mid_dim)
        self.out = nn.Linear(mid_dim, 2 * sum(h * w for h, w in zip(heads, head_width, strict=True)))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self) -> list[Pair]:
        """Return keys and values, from the lowest block up."""
        # What is stored in the end is what this gives, so it is computed in the precision that is stored.
        with torch.autocast(self.start.device.type, enabled=False):
            rows = self.start + self.out(torch.tanh(self.hidden(self.rows.weight)))
        parts = iter(rows.split([heads * width for heads, _, width in self._shapes for _ in range(2)], 1))
        return [(_as_heads(next(parts), shape), _as_heads(next(parts), shape)) for shape in self._shapes]


class Prefixed(nn.Module):
    """A model whose blocks attend to a prefix; where there is none, they keep the keys and values they see."""

    def __init__(self, model: PreTrainedModel, prefix: nn.Module | None = None) -> None:
        super().__init__()
        self.model = model
        self.prefix = prefix
        # A tuple, because these modules are the model's.
        self._attentions: tuple[Any, ...] = _opened(model)

    def forward(self, **batch: Any) -> Any:
        """Return what the model gives."""
        pairs = [None] * len(self._attentions) if self.prefix is None else self.prefix()
        for attention, pair in zip(self._attentions, pairs, strict=True):
            attention.prefix = pair
        return self.model(**batch)

    def seen(self, tokens: Sequence[int]) -> list[Pair]:
        """Return the keys and values that every block has for one text of ``tokens``; needs a model without prefix."""
        ids = torch.tensor([list(tokens)], device=self.model.device)
        with torch.no_grad():
            self.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))
        return [attention.seen for attention in self._attentions]


class Disentangled(nn.Module):
    """Stands for DeBERTa's attention: the prefix takes the place of positions before the text, whatever is padded after it."""

    prefix: Pair | None = None
    seen: Pair | None = None

    def __init__(self, inner: DisentangledSelfAttention) -> None:
        super().__init__()
        self.inner = inner
        self._padded: Tensor | None = None
        self._outputs: list[Tensor] = []
        for which, projection in enumerate((inner.key_proj, inner.value_proj)):
            projection.register_forward_hook(partial(self._replace, which))

    def forward(self, hidden_states: Tensor, attention_mask: Tensor, *_: Any, rel_embeddings: Any = None, **__: Any) -> Any:
        """Return what attention finds for the text's positions, and no attention weights."""
        n = 0 if self.prefix is None else self.prefix[0].shape[1]
        self._padded, self._outputs = functional.pad(hidden_states, (0, 0, n, 0)), []
        mask = functional.pad(attention_mask, (n, 0, n, 0), value=1)
        # Relative positions are left out, so that they are counted anew for the longer text.
        found = self.inner(self._padded, mask, rel_embeddings=rel_embeddings)[0]
        if self.prefix is None:
            heads = self.inner.num_attention_heads
            key, value = (output[0].detach().unflatten(-1, (heads, -1)).transpose(0, 1) for output in self._outputs)
            self.seen = key, value
        self._padded, self._outputs = None, []
        return found[:, n:].contiguous(), None

    def _replace(self, which: int, _: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        """Put the prefix at the start of a projection, unless the projection is of relative positions."""
        if args[0] is not self._padded:
            return None
        if self.prefix is None:
            self._outputs.append(output)
            return None
        rows = _as_rows(self.prefix[which]).to(output.dtype)
        return torch.cat([rows.expand(len(output), -1, -1), output[:, len(rows) :]], 1)


def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **options: Any) -> Any:
    """Return attention to the prefix of ``module`` and to the text, of which ``attention_mask`` says who sees what."""
    if module.prefix is None:
        module.seen = key[0].detach(), value[0].detach()
    else:
        key, value = (
            torch.cat([added.to(own.dtype).expand(len(own), -1, -1, -1), own], 2)
            for added, own in zip(module.prefix, (key, value), strict=True)
        )
        attention_mask = functional.pad(attention_mask, (module.prefix[0].shape[1], 0), value=True)
    return sdpa_attention_forward(module, query, key, value, attention_mask, **options)


def _mask(*sizes: Any, **options: Any) -> Tensor | None:
    """Return the whole boolean mask, also where the usual functions would leave it out."""
    return sdpa_mask(*sizes, **{**options, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False})


def _opened(model: PreTrainedModel) -> tuple[Any, ...]:
    """Return the attention modules of ``model``, made to read the attribute ``prefix``."""
    names = blocks_of(model).names("attention")
    if any(isinstance(model.get_submodule(name), DisentangledSelfAttention) for name in names):
        for name in names:
            put(model, name, Disentangled(cast("DisentangledSelfAttention", model.get_submodule(name))))
    elif not isinstance(model.get_submodule(names[0]), Disentangled):
        AttentionInterface.register(IMPLEMENTATION, attend)
        AttentionMaskInterface.register(IMPLEMENTATION, _mask)
        with quiet():
            model.set_attn_implementation(IMPLEMENTATION)
        if model.config._attn_implementation != IMPLEMENTATION:  # noqa: SLF001 - transformers offers no public name
            raise BackboneError(
                f"A {model.config.model_type} computes attention in a way of its own, so no prefix can be put into it. Use a "
                "method that works on its layers, such as lora or adapter, or soft_prompt."
            )
    return tuple(model.get_submodule(name) for name in names)


def _as_rows(tensor: Tensor) -> Tensor:
    """Shapes: (heads, length, width) -> (length, heads * width)."""
    return tensor.transpose(0, 1).flatten(1)


def _as_heads(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """Shapes: (length, heads * width) -> (heads, length, width)."""
    return rows.unflatten(1, (shape[0], shape[2])).transpose(0, 1)
