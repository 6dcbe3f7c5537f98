"""LoRA: a trained low-rank update beside each chosen frozen linear layer.

A layer ``W`` becomes ``W + (alpha / rank) * B @ A`` with ``A`` of shape (rank, inputs) and ``B`` of shape
(outputs, rank). ``B`` starts at zero, so step zero is the backbone. Only ``A``, ``B`` and the output
layer are stored. For answers the update is added into ``W``, so that they cost what the backbone costs.

Source: Hu et al. 2021, "LoRA", arXiv:2106.09685, sections 4.1 and 4.2.
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
    ("query_key_value",),  # GPT-NeoX, BLOOM, Falcon
    ("c_attn",),  # GPT-2
)
"""What architectures call the query and value projections, some fused with the key's; the first a backbone has is used."""


class LoraSettings(TrunkSettings):
    """Settings of ``lora``; the names are the source's."""

    learning_rate: float = Field(2e-3, gt=0, le=1, description="Highest step size of AdamW for the update.")
    rank: int = Field(8, gt=0, le=1024, description="r, the rank of the update.")
    alpha: float = Field(16.0, gt=0, le=1e4, description="The update is scaled by alpha / rank.")
    targets: list[str] | None = Field(
        None,
        min_length=1,
        description="Endings of the layer names to wrap, such as `query`; the query and value projections, "
        "whatever the architecture calls them, unless given.",
    )


def fit(inputs: Inputs, settings: LoraSettings, *, rng: Rng) -> Predictor:
    """Wrap the targets, then train the update and the output layer on ``inputs.train``.

    Raises:
        SettingsError: If one of ``settings.targets`` matches no linear layer.
    """
    with inputs.monitor.untimed():  # the import of a library is no cost of the method that comes first
        import peft  # noqa: F401

        from tunewise.training.fitting import fit_classifier, predictor_of, start_classifier

    classifier = start_classifier(inputs, settings.dropout, rng)
    layers = target_layers(classifier, cast("Backbone", inputs.runtime.backbone), settings.targets)
    shape = {"rank": settings.rank, "alpha": settings.alpha, "layers": layers}
    with rng.child("update").torch():
        wrap(classifier, shape)
    kept = fit_classifier(classifier, inputs, settings, shape, rng)
    merge(classifier)
    return predictor_of(classifier, kept, inputs.runtime)


def load(folder: Path, runtime: Runtime) -> Predictor:
    """Wrap the backbone again, and read update and output layer."""
    from tunewise.rng import Rng
    from tunewise.training.fitting import blank_classifier, predictor_of
    from tunewise.training.keeping import fill, read_kept

    kept = read_kept(folder)
    classifier = blank_classifier(kept, runtime)
    with Rng(0).torch():
        wrap(classifier, kept.shape)
    fill(classifier, kept)
    merge(classifier)
    return predictor_of(classifier, kept, runtime)


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


def wrap(classifier: Classifier, shape: dict[str, Any]) -> None:
    """Freeze the trunk and put an update beside the layers of ``shape``; ``A`` is drawn from torch's generator."""
    import warnings

    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    # GPT-2 keeps its weights transposed.
    is_transposed = isinstance(classifier.trunk.get_submodule(shape["layers"][0]), Conv1D)
    config = LoraConfig(r=shape["rank"], lora_alpha=shape["alpha"], target_modules=shape["layers"], fan_in_fan_out=is_transposed)
    with warnings.catch_warnings():
        # peft asks transformers for a name that it is about to rename; nobody else can act on it.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        classifier.trunk = get_peft_model(classifier.pretrained, config)


def merge(classifier: Classifier) -> None:
    """Add every update into the layer beside it."""
    classifier.trunk = cast("Any", classifier.trunk).merge_and_unload()


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
