"""Adapters: small bottlenecks behind the frozen parts of every block.

What attention or the feed-forward part found, ``h``, becomes ``h + W_up gelu(W_down h + b_down) + b_up`` before it is
added to the hidden states, with ``W_down`` of shape (size, width). ``W_up`` starts at zero, so step zero is the
backbone, and taking the bottlenecks out gives it back. Unlike a low-rank update a bottleneck is not linear and cannot
be merged, so each text pays for it.

Ours, because peft has no adapter of this kind, and the package that has (`adapters`) needs older versions of
transformers and of the hub's client.

Source: Houlsby et al. 2019, "Parameter-efficient transfer learning for NLP", arXiv:1902.00751, section 2.1. With
``places: feed_forward``: Pfeiffer et al. 2021, "AdapterFusion", arXiv:2005.00247, section 3.1, one bottleneck a block.
Differs from the source: the upward weights start at zero instead of near it; norms stay frozen unless asked for;
Pfeiffer's bottleneck stands where Houlsby's does, before the norm.
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


class AdapterSettings(TrunkSettings):
    """Settings of ``adapter``."""

    learning_rate: float = Field(2e-3, gt=0, le=1, description="Highest step size of AdamW for the bottlenecks.")
    size: int = Field(32, gt=0, le=65_536, description="m, the width of a bottleneck.")
    places: Literal["both", "feed_forward"] = Field(
        "both",
        description="Behind attention and feed-forward part (Houlsby), or `feed_forward` alone (Pfeiffer).",
    )
    train_norms: bool = Field(False, description="Train the norms of these blocks too, as the source does.")
    blocks: int | None = Field(None, ge=1, description="Limit them to so many blocks, from the top; all of them unless given.")


def fit(inputs: Inputs, settings: AdapterSettings, *, rng: Rng) -> Predictor:
    """Put the bottlenecks in, then train them and the output layer on ``inputs.train``.

    Raises:
        SettingsError: If the backbone has fewer blocks than ``settings.blocks``.
        BackboneError: If its blocks are not known.
    """
    with inputs.monitor.untimed():  # the import of a library is no cost of the method that comes first
        from tunewise.training.fitting import start_classifier
        from tunewise.training.installing import fit_installed

    classifier = start_classifier(inputs, settings.dropout, rng)
    return fit_installed(install, classifier, shape_of(classifier, settings), inputs, settings, rng)


def load(folder: Path, runtime: Runtime) -> Predictor:
    """Put bottlenecks in again, and read them and the output layer."""
    from tunewise.training.installing import load_installed

    return load_installed(install, folder, runtime)


def shape_of(classifier: Classifier, settings: AdapterSettings) -> dict[str, Any]:
    """Return the layers that get a bottleneck, the norms that are trained, and the bottleneck's width."""
    from tunewise.training.blocks import blocks_of

    model = classifier.pretrained
    blocks = blocks_of(model)
    chosen = blocks.top(settings.blocks)
    parts = ("attention_output", "feed_forward_output")[settings.places == "feed_forward" :]
    norms = [
        name
        for name, module in model.named_modules()
        if settings.train_norms and blocks.number_of(name) in chosen and "norm" in type(module).__name__.lower()
    ]
    return {"size": settings.size, "layers": [name for part in parts for name in blocks.names(part, chosen)], "norms": norms}


def install(classifier: Classifier, shape: dict[str, Any]) -> None:
    """Put a bottleneck behind each layer of ``shape``; ``W_down`` is drawn from torch's generator."""
    from tunewise.training.blocks import put
    from tunewise.training.injected import Bottleneck

    model = classifier.pretrained
    for name in shape["norms"]:
        model.get_submodule(name).requires_grad_()
    for name in shape["layers"]:
        put(model, name, Bottleneck(model.get_submodule(name), int(model.config.hidden_size), shape["size"]))


METHOD = Method(
    settings=AdapterSettings,
    fit=fit,
    load=load,
    trains="bottlenecks in every block and an output layer",
    source="Houlsby et al. 2019, arXiv:1902.00751",
    needs=frozenset({Need.TRUNK}),
    is_default=False,
    badges=frozenset({"pytorch", "huggingface"}),
)
