"""BitFit: the biases alone are trained, and every matrix stays frozen.

A layer ``W x + b`` keeps its ``W`` and learns its ``b``: a thousandth of the weights, nothing added, and answers cost
what the backbone's cost. A bias can only shift what a layer gives, the same for every text, so the method picks among
what the backbone already computes.

Architectures that have no biases (Llama, Gemma, ModernBERT) get them, as zeros, beside the linear layers of their
blocks, so that step zero is the backbone.

Ours, because peft has no such method; there is nothing to it but the choice of parameters.

Source: Ben Zaken, Ravfogel & Goldberg 2022, "BitFit", arXiv:2106.10199, section 3.
Differs from the source: biases that an architecture lacks are added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tunewise.contracts import Method, Need
from tunewise.training.settings import TrunkSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Inputs, Predictor, Runtime
    from tunewise.rng import Rng
    from tunewise.training.classifier import Classifier


class BitfitSettings(TrunkSettings):
    """Settings of ``bitfit``."""

    learning_rate: float = Field(3e-3, gt=0, le=1, description="Highest step size of AdamW for the biases.")
    biases: Literal["all", "query_and_feed_forward"] = Field(
        "all", description="Or those of the query and of the feed-forward part's first layer alone, b_q and b_m2 in the source."
    )


def fit(inputs: Inputs, settings: BitfitSettings, *, rng: Rng) -> Predictor:
    """Train the biases and the output layer on ``inputs.train``.

    Raises:
        BackboneError: If the backbone's blocks are not known.
    """
    with inputs.monitor.untimed():  # the import of a library is no cost of the method that comes first
        from tunewise.training.fitting import start_classifier
        from tunewise.training.installing import fit_installed

    classifier = start_classifier(inputs, settings.dropout, rng)
    return fit_installed(install, classifier, shape_of(classifier, settings.biases), inputs, settings, rng)


def load(folder: Path, runtime: Runtime) -> Predictor:
    """Read the biases and the output layer."""
    from tunewise.training.installing import load_installed

    return load_installed(install, folder, runtime)


def shape_of(classifier: Classifier, biases: str) -> dict[str, Any]:
    """Return the linear layers of the blocks whose biases are trained, and whether those elsewhere are too."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    from tunewise.training.blocks import blocks_of

    blocks = blocks_of(classifier.pretrained)
    if biases == "all":
        linear = [name for name, module in classifier.pretrained.named_modules() if isinstance(module, (nn.Linear, Conv1D))]
        return {"layers": [name for name in linear if blocks.number_of(name) is not None], "and_all_others": True}
    return {"layers": [*blocks.names("query"), *blocks.names("feed_forward_input")], "and_all_others": False}


def install(classifier: Classifier, shape: dict[str, Any]) -> None:
    """Thaw the biases that ``shape`` names, and put zeros where a layer has none."""
    import torch
    from torch import nn

    model = classifier.pretrained
    for name in shape["layers"]:
        layer: Any = model.get_submodule(name)
        if layer.bias is None:
            layer.bias = nn.Parameter(torch.zeros(len(layer.weight)))
        layer.bias.requires_grad_()
    for name, parameter in model.named_parameters():
        if shape["and_all_others"] and name.rpartition(".")[2].endswith("bias"):
            parameter.requires_grad_()


METHOD = Method(
    settings=BitfitSettings,
    fit=fit,
    load=load,
    trains="biases and an output layer",
    source="Ben Zaken et al. 2022, arXiv:2106.10199",
    needs=frozenset({Need.TRUNK}),
    is_default=False,
    badges=frozenset({"pytorch", "huggingface"}),
)
