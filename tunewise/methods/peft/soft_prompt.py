"""Soft prompt: trained vectors that the frozen backbone reads before the text, as if they were words.

The embedded text ``X`` of shape (t, width) becomes ``[P; X]``; only ``P``, of shape (length, width), and the output layer
are trained. One small matrix serves a task, and texts of several tasks can share a batch, each behind its own. What it
can change is limited to what attention carries from ``P`` into the text, so small backbones gain less than large ones.

The text is pooled alone, without the vectors' own hidden states, and learned positions count as if nothing stood before
it: the frozen backbone then sees the text where it saw texts in pretraining.

Ours, because peft's prompts drop the segments that tell the sides of a pair apart, shift all learned positions, and hand
on hidden states in which the first position, where BERT is pooled, is a vector of the prompt.

Source: Lester, Al-Rfou & Constant 2021, "The power of scale for parameter-efficient prompt tuning", arXiv:2104.08691,
sections 2 and 3.
Differs from the source: an output layer on the pooled text answers, instead of a language model's next word.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tunewise.contracts import Method, Need
from tunewise.training.settings import TrunkSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Inputs, Predictor, Runtime
    from tunewise.rng import Rng
    from tunewise.training.classifier import Classifier

UNIFORM = 0.5
"""Random vectors are drawn from [-0.5, 0.5], as in the source, section 3.2."""


class SoftPromptSettings(TrunkSettings):
    """Settings of ``soft_prompt``; the names are the source's where it has them."""

    learning_rate: float = Field(2e-2, gt=0, le=1, description="Highest step size of AdamW for the vectors.")
    length: int = Field(20, ge=1, le=4096, description="Number of vectors; the source's prompt length.")
    init: Literal["vocabulary", "random"] = Field(
        "vocabulary", description="First vectors: embeddings of frequent tokens of the training texts, or random ones."
    )
    init_scale: float = Field(1.0, ge=0, le=1e3, description="The first vectors are multiplied by it.")
    pooled: Literal["text", "all"] = Field("text", description="Whether the text alone is pooled, or the vectors with it.")
    positions: Literal["own", "shifted"] = Field(
        "own", description="Whether learned positions of the text count from its own first token, or from the first vector."
    )


def fit(inputs: Inputs, settings: SoftPromptSettings, *, rng: Rng) -> Predictor:
    """Train the vectors and the output layer on ``inputs.train``.

    Raises:
        SettingsError: If ``settings.length`` leaves no room for a text.
    """
    with inputs.monitor.untimed():  # the import of a library is no cost of the method that comes first
        from tunewise.training.fitting import start_classifier
        from tunewise.training.installing import drawn_tokens, fit_installed

    classifier = start_classifier(inputs, settings.dropout, rng)
    shape = settings.model_dump(include={"length", "init_scale", "pooled", "positions"})
    shape["tokens"] = drawn_tokens(inputs, settings.length, rng) if settings.init == "vocabulary" else None
    runtime, shape["max_tokens"] = shortened(inputs.runtime, classifier, shape)
    return fit_installed(install, classifier, shape, replace(inputs, runtime=runtime), settings, rng)


def load(folder: Path, runtime: Runtime) -> Predictor:
    """Put the vectors in again, and read them and the output layer."""
    from tunewise.training.installing import load_installed
    from tunewise.training.keeping import read_kept

    return load_installed(install, folder, limited(runtime, read_kept(folder).shape["max_tokens"]))


def install(classifier: Classifier, shape: dict[str, Any]) -> None:
    """Let the trunk read vectors first; random ones are drawn from torch's generator."""
    import torch
    from torch import nn

    from tunewise.training.injected import SoftPrompted

    is_pooled, model = shape["pooled"] == "all", classifier.pretrained
    classifier.trunk = SoftPrompted(model, shape["length"], is_pooled=is_pooled, positions=shape["positions"])
    vectors = classifier.trunk.prompt.weight
    with torch.no_grad():
        if shape["tokens"] is None:
            nn.init.uniform_(vectors, -UNIFORM, UNIFORM)
        else:
            vectors.copy_(model.get_input_embeddings()(torch.tensor(shape["tokens"], device=model.device)))
        vectors.mul_(shape["init_scale"])


def shortened(runtime: Runtime, classifier: Classifier, shape: dict[str, Any]) -> tuple[Runtime, int]:
    """Return the runtime whose texts leave room for the vectors, and how many tokens they may have."""
    from tunewise.training.injected import n_positions

    limit = n_positions(classifier.pretrained)
    backbone = runtime.backbone
    n_tokens = backbone.max_tokens if backbone else 0
    if limit is not None and shape["positions"] == "shifted":
        n_tokens = min(n_tokens, limit - shape["length"])
    return limited(runtime, n_tokens), n_tokens


def limited(runtime: Runtime, max_tokens: int) -> Runtime:
    """Return the runtime whose texts are cut at ``max_tokens``."""
    return replace(runtime, backbone=replace(runtime.backbone, max_tokens=max_tokens) if runtime.backbone else None)


METHOD = Method(
    settings=SoftPromptSettings,
    fit=fit,
    load=load,
    trains="vectors before the text and an output layer",
    source="Lester et al. 2021, arXiv:2104.08691",
    needs=frozenset({Need.TRUNK}),
    is_default=False,
    badges=frozenset({"pytorch", "huggingface"}),
)
