"""The transformer blocks of a model, and what an architecture calls the parts of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from tunewise.errors import BackboneError, SettingsError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Parts:
    """Names of a block's modules, from the block down; projections that one layer computes together share its name."""

    attention: str
    """Computes attention out of hidden states."""
    query: str
    key: str
    value: str
    attention_output: str
    """The last linear layer before what attention found is added to the hidden states."""
    feed_forward_input: str
    feed_forward_output: str
    """The last linear layer before what the feed-forward part found is added to the hidden states."""


_BERT_OUTPUTS = ("attention.output.dense", "intermediate.dense", "output.dense")
KNOWN = (
    # BERT, RoBERTa, ELECTRA
    Parts("attention.self", "attention.self.query", "attention.self.key", "attention.self.value", *_BERT_OUTPUTS),
    # DistilBERT
    Parts("attention", "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "ffn.lin1", "ffn.lin2"),
    # ModernBERT
    Parts("attn", "attn.Wqkv", "attn.Wqkv", "attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo"),
    # DeBERTa from version 2
    Parts("attention.self", "attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj", *_BERT_OUTPUTS),
    # MPNet
    Parts(
        "attention.attn",
        "attention.attn.q",
        "attention.attn.k",
        "attention.attn.v",
        "attention.attn.o",
        "intermediate.dense",
        "output.dense",
    ),
    # Llama, Qwen, Gemma, Mistral
    Parts(
        "self_attn",
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ),
    # GPT-2
    Parts("attn", "attn.c_attn", "attn.c_attn", "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
)
"""The architectures whose blocks are known; the first whose names a block has is used."""

_NORMS_ABOVE = ("norm", "ln_f", "final_norm", "final_layer_norm", "final_layernorm")
"""What architectures that normalise before each part call the norm after the last block."""


@dataclass(frozen=True)
class Blocks:
    """The blocks of one model, counted from below."""

    place: str
    """Name of the list that holds them."""
    n: int
    parts: Parts

    def top(self, k: int | None) -> range:
        """Return the numbers of the top ``k`` blocks, or of all.

        Raises:
            SettingsError: If there are fewer.
        """
        if k is not None and k > self.n:
            raise SettingsError(
                f"blocks={k} was given and this backbone has {self.n}, so no such part of it could be chosen. "
                f"Give a number from 1 to {self.n}."
            )
        return range(self.n - (self.n if k is None else k), self.n)

    def named(self, i: int) -> str:
        """Return the full name of block ``i``."""
        return f"{self.place}.{i}"

    def names(self, part: str, numbers: range | None = None) -> list[str]:
        """Return the full names of one part, a field of `Parts`, in the given blocks or all."""
        return [f"{self.named(i)}.{getattr(self.parts, part)}" for i in numbers or range(self.n)]

    def number_of(self, name: str) -> int | None:
        """Return the number of the block that the parameter or module ``name`` lies in, or nothing if in none."""
        number = name.removeprefix(f"{self.place}.").partition(".")[0]
        return int(number) if name.startswith(f"{self.place}.") and number.isdigit() else None


def blocks_of(model: PreTrainedModel) -> Blocks:
    """Return where the blocks of ``model`` are, and what their parts are called.

    Raises:
        BackboneError: If none of the known architectures fits.
    """
    n = int(model.config.num_hidden_layers)
    for place, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == n:
            names = {name for name, _ in module[0].named_modules()}
            for parts in KNOWN:
                if names.issuperset(vars(parts).values()):
                    return Blocks(place, n, parts)
    raise BackboneError(
        f"The parts of a {model.config.model_type}'s blocks are not known here, so nothing can be put into them. Use a backbone "
        "shaped like BERT, RoBERTa, DistilBERT, ModernBERT, DeBERTa 2, MPNet, Llama, Qwen, Gemma or GPT-2, or a method that "
        "needs no such place: all_layers, head_only, or lora with its targets named."
    )


def norm_above(model: PreTrainedModel) -> nn.Module | None:
    """Return the norm that follows the last block, where the architecture has one."""
    children = dict(model.named_children())
    return next((children[name] for name in _NORMS_ABOVE if name in children), None)


def put(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put ``module`` in the place of the submodule ``name``."""
    above, _, own = name.rpartition(".")
    setattr(model.get_submodule(above), own, module)
