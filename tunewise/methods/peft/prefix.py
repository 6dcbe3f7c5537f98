"""Prefix tuning: trained keys and values that every block attends to beside the text's own.

In each block ``softmax(q [P_k; K]^T) [P_v; V]`` takes the place of ``softmax(q K^T) V``. Only ``P_k`` and ``P_v`` of every
block and the output layer are trained. A prefix reaches every block at once, where a soft prompt has to work its way up
from the first. It starts as the keys and values of frequent words, which moves the backbone's attention little.

The text keeps its own positions, and the vectors have none but those they started with.

Ours, because peft hands a prefix over as a cache of past keys and values, which DistilBERT, ModernBERT and DeBERTa do not
take, and which shifts learned positions where it is taken.

Source: Li & Liang 2021, "Prefix-Tuning", arXiv:2101.00190, sections 4.2 and 4.3, and 7.4 for the start from words.
Differs from the source: an output layer answers; the prefix is trained as it is unless ``mid_dim`` asks for the
reparametrising layers, which then add to the start, nothing at first; they are dropped after training, as there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field

from tunewise.contracts import Method, Need
from tunewise.training.settings import TrunkSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Inputs, Predictor, Runtime
    from tunewise.rng import Rng
    from tunewise.training.classifier import Classifier
    from tunewise.training.keeping import Kept


class PrefixSettings(TrunkSettings):
    """Settings of ``prefix``."""

    learning_rate: float = Field(1e-2, gt=0, le=1, description="Highest step size of AdamW for the prefix.")
    weight_decay: float = Field(0.0, ge=0, le=1, description="Of the prefix and the output layer's matrix.")
    length: int = Field(10, ge=1, le=4096, description="Keys and values per block; the source's prefix length.")
    init: Literal["words", "random"] = Field(
        "words", description="First keys and values: those of frequent words of the training texts, or random ones as large."
    )
    init_scale: float = Field(1.0, ge=0, le=1e3, description="The first keys and values are multiplied by it.")
    mid_dim: int | None = Field(
        None, ge=1, le=65_536, description="Width of the hidden layer that computes the prefix while training; none unless given."
    )


def fit(inputs: Inputs, settings: PrefixSettings, *, rng: Rng) -> Predictor:
    """Train the prefix and the output layer on ``inputs.train``.

    Raises:
        SettingsError: If the backbone cannot read ``settings.length`` words at once.
        BackboneError: If the backbone's attention takes no prefix.
    """
    with inputs.monitor.untimed():  # the import of a library is no cost of the method that comes first
        from tunewise.training.fitting import fit_classifier, predictor_of, start_classifier
        from tunewise.training.installing import drawn_tokens, put_in

    classifier = start_classifier(inputs, settings.dropout, rng)
    shape = settings.model_dump(include={"init", "init_scale", "mid_dim"})
    shape["tokens"] = drawn_tokens(inputs, settings.length, rng)
    with rng.child("added").torch():
        put_in(install, classifier, shape)
    kept = fit_classifier(classifier, inputs, settings, shape, rng)
    return predictor_of(classifier, dropped_layers(classifier, kept), inputs.runtime)


def load(folder: Path, runtime: Runtime) -> Predictor:
    """Put a prefix in again, and read it and the output layer."""
    from tunewise.training.installing import load_installed

    return load_installed(install, folder, runtime)


def install(classifier: Classifier, shape: dict[str, Any]) -> None:
    """Give every block a prefix; random ones and reparametrising layers are drawn from torch's generator."""
    import torch

    from tunewise.training.prefixed import Prefix, Prefixed, Reparametrised

    trunk = Prefixed(classifier.pretrained)
    pairs = trunk.seen(shape["tokens"])
    if shape["init"] == "random":
        pairs = [(torch.randn_like(key) * key.std(), torch.randn_like(value) * value.std()) for key, value in pairs]
    pairs = [(key * shape["init_scale"], value * shape["init_scale"]) for key, value in pairs]
    if shape["mid_dim"] is None:
        trunk.prefix = Prefix(pairs)
    else:
        trunk.prefix = Reparametrised(pairs, int(classifier.pretrained.config.hidden_size), shape["mid_dim"])
    classifier.trunk = trunk


def dropped_layers(classifier: Classifier, kept: Kept) -> Kept:
    """Put in the place of reparametrising layers the prefix that they compute, and return what is stored then."""
    from tunewise.training.keeping import keep
    from tunewise.training.prefixed import Prefix, Prefixed, Reparametrised

    trunk = cast("Prefixed", classifier.trunk)
    if not isinstance(trunk.prefix, Reparametrised):
        return kept
    trunk.prefix = Prefix([(key.detach(), value.detach()) for key, value in trunk.prefix()])
    return keep(classifier, kept.n_classes, kept.chosen, {**kept.shape, "mid_dim": None})


METHOD = Method(
    settings=PrefixSettings,
    fit=fit,
    load=load,
    trains="keys and values in every block and an output layer",
    source="Li & Liang 2021, arXiv:2101.00190",
    needs=frozenset({Need.TRUNK}),
    is_default=False,
    badges=frozenset({"pytorch", "huggingface"}),
)
