"""LoRA: a trained low-rank update beside each chosen frozen linear layer.

A layer ``W`` becomes ``W + (alpha / rank) * B @ A`` with ``A`` of shape (rank, inputs) and ``B`` of shape
(outputs, rank). ``B`` starts at zero, so step zero is the backbone. Only ``A``, ``B`` and the output
layer are stored. For answers the update is added into ``W``, so that they cost what the backbone costs.

With ``use_rslora`` the update is scaled by ``alpha / sqrt(rank)``, so that large ranks learn as fast as small ones. With
``use_dora`` the updated weight's rows are brought to lengths that are trained as well, from those of ``W``.

Source: Hu et al. 2021, "LoRA", arXiv:2106.09685, sections 4.1 and 4.2; Kalajdzievski 2023, "A rank stabilization scaling
factor", arXiv:2312.03732; Liu et al. 2024, "DoRA", arXiv:2402.09353, section 4. Through peft.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pydantic import Field

from tunewise.contracts import Method, Need
from tunewise.errors import SettingsError
from tunewise.training.settings import TrunkSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Backbone, Inputs, Predictor, Runtime
    from tunewise.rng import Rng
    from tunewise.training.classifier import Classifier

QUERY_AND_VALUE = (
    ("query", "value"),  # BERT, RoBERTa, ELECTRA
    ("q_proj", "v_proj"),  # Llama, Qwen, Gemma, OPT, BART
    ("q_lin", "v_lin"),  # DistilBERT
    ("query_proj", "value_proj"),  # DeBERTa
    ("q", "v"),  # MPNet, T5
    ("Wqkv",),  # ModernBERT
    ("qkv_proj",),  # Phi
    ("in_proj",),  # DeBERTa, first version
    ("query_key_value",),  # GPT-NeoX, BLOOM, Falcon
    ("c_attn",),  # GPT-2
)
"""What architectures call the query and value projections, some fused with the key's; the first a backbone has is used."""


class LoraSettings(TrunkSettings):
    """Settings of ``lora``; the names are the source's."""

    learning_rate: float = Field(2e-3, gt=0, le=1, description="Highest step size of AdamW for the update.")
    rank: int = Field(8, gt=0, le=1024, description="r, the rank of the update.")
    alpha: float = Field(16.0, gt=0, le=1e4, description="The update is scaled by alpha / rank.")
    use_rslora: bool = Field(False, description="Scale the update by alpha / sqrt(rank) instead (rank-stabilised LoRA).")
    use_dora: bool = Field(False, description="Train the lengths of the updated weight's rows too (DoRA).")
    blocks: int | None = Field(None, ge=1, description="Limit it to so many blocks, from the top; all of them unless given.")
    targets: list[str] | None = Field(
        None,
        min_length=1,
        description="Endings of the layer names to wrap, such as `query`; the query and value projections, "
        "whatever the architecture calls them, unless given.",
    )


def fit(inputs: Inputs, settings: LoraSettings, *, rng: Rng) -> Predictor:
    """Wrap the targets, then train the update and the output layer on ``inputs.train``.

    Raises:
        SettingsError: If one of ``settings.targets`` matches no linear layer, or the backbone has fewer blocks.
    """
    with inputs.monitor.untimed():  # the import of a library is no cost of the method that comes first
        import peft  # noqa: F401

        from tunewise.training.fitting import fit_classifier, predictor_of, start_classifier
        from tunewise.training.installing import merge_peft, put_in

    classifier = start_classifier(inputs, settings.dropout, rng)
    layers = target_layers(classifier, cast("Backbone", inputs.runtime.backbone), settings.targets)
    shape = settings.model_dump(include={"rank", "alpha", "use_rslora", "use_dora"})
    shape["layers"] = in_top_blocks(classifier, layers, settings.blocks)
    with rng.child("update").torch():
        put_in(wrap, classifier, shape)
    kept = fit_classifier(classifier, inputs, settings, shape, rng)
    merge_peft(classifier)
    return predictor_of(classifier, kept, inputs.runtime)


def load(folder: Path, runtime: Runtime) -> Predictor:
    """Wrap the backbone again, and read update and output layer."""
    from tunewise.training.installing import load_installed, merge_peft

    return load_installed(wrap, folder, runtime, merge=merge_peft)


def target_layers(classifier: Classifier, backbone: Backbone, targets: list[str] | None) -> list[str]:
    """Return the full names of the linear layers that ``targets`` names by their endings.

    Raises:
        SettingsError: If a target matches none; the message names the endings there are.
    """
    linear = [name for name, module in classifier.trunk.named_modules() if _is_linear(module)]
    endings = {name.rpartition(".")[2] for name in linear}
    usual = next((names for names in QUERY_AND_VALUE if endings.issuperset(names)), None)
    chosen = list(usual or ()) if targets is None else targets
    found = {target: [name for name in linear if f".{name}".endswith(f".{target}")] for target in chosen}
    if not found or not all(found.values()):
        raise SettingsError(
            f"targets={targets} matches no linear layer of {backbone.name} (a {backbone.architecture})"
            f"{_which(found)}, so nothing would be trained there. "
            f"Its linear layers end in {', '.join(repr(ending) for ending in sorted(endings))}. Name one or more of them"
            + (f", or leave targets out for {' and '.join(usual)}." if usual else ".")
        )
    return [name for name in linear if any(name in names for names in found.values())]


def in_top_blocks(classifier: Classifier, layers: list[str], k: int | None) -> list[str]:
    """Return those of ``layers`` that lie in the top ``k`` blocks, or all.

    Raises:
        SettingsError: If there are fewer blocks, or none of the layers lies there.
    """
    if k is None:
        return layers
    from tunewise.training.blocks import blocks_of

    blocks = blocks_of(classifier.pretrained)
    found = [name for name in layers if blocks.number_of(name) in blocks.top(k)]
    if not found:
        raise SettingsError(
            f"None of the targets {', '.join(layers)} lies in the top blocks={k}, so nothing would be trained there. "
            "Leave blocks out, or name targets inside the blocks."
        )
    return found


def wrap(classifier: Classifier, shape: dict[str, Any]) -> None:
    """Freeze the trunk and put an update beside the layers of ``shape``; ``A`` is drawn from torch's generator."""
    from peft import LoraConfig
    from transformers.pytorch_utils import Conv1D

    from tunewise.training.installing import wrap_with_peft

    # GPT-2 keeps its weights transposed.
    is_transposed = isinstance(classifier.trunk.get_submodule(shape["layers"][0]), Conv1D)
    config = LoraConfig(
        r=shape["rank"],
        lora_alpha=shape["alpha"],
        use_rslora=shape["use_rslora"],
        use_dora=shape["use_dora"],
        target_modules=shape["layers"],
        fan_in_fan_out=is_transposed,
    )
    wrap_with_peft(classifier, config)


def _is_linear(module: object) -> bool:
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, (nn.Linear, Conv1D))


def _which(found: dict[str, list[str]]) -> str:
    lost = [target for target, names in found.items() if not names]
    return f": {', '.join(repr(target) for target in lost)}" if len(lost) < len(found) else ""


METHOD = Method(
    settings=LoraSettings,
    fit=fit,
    load=load,
    trains="low-rank updates and an output layer",
    source="Hu et al. 2021, arXiv:2106.09685",
    needs=frozenset({Need.TRUNK}),
    badges=frozenset({"pytorch", "huggingface"}),
)
