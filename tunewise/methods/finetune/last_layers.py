"""Fine-tuning in part: the top blocks of the backbone are trained, together with a new output layer.

Lower blocks know of words and grammar and serve most tasks as they are; what tells a task's classes apart is
mostly made further up. So the top ones alone are trained, with the norm that follows them where there is one. Steps
are cheaper than for all layers, because gradients end at the lowest trained block, and less is stored.

Source: Howard & Ruder 2018, "Universal language model fine-tuning", arXiv:1801.06146, section 3.3; Lee et al. 2019,
"What would Elsa do?", arXiv:1911.03090, for how many blocks it takes.
Differs from the source: the blocks below are never thawed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tunewise.contracts import Method, Need
from tunewise.training.settings import TrunkSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Inputs, Predictor, Runtime
    from tunewise.rng import Rng
    from tunewise.training.classifier import Classifier


class LastLayersSettings(TrunkSettings):
    """Settings of ``last_layers``."""

    learning_rate: float = Field(5e-4, gt=0, le=1, description="Highest step size of AdamW for the backbone's weights.")
    blocks: int = Field(2, ge=1, description="k, the number of top blocks that are trained.")


def fit(inputs: Inputs, settings: LastLayersSettings, *, rng: Rng) -> Predictor:
    """Train the top blocks and the output layer on ``inputs.train``; the epoch that is best on ``inputs.development`` is kept.

    Raises:
        SettingsError: If the backbone has fewer blocks.
        BackboneError: If its blocks are not known.
    """
    with inputs.monitor.untimed():  # the import of a library is no cost of the method that comes first
        from tunewise.training.fitting import fit_classifier, predictor_of, start_classifier

    classifier = start_classifier(inputs, settings.dropout, rng)
    thaw_top(classifier, settings.blocks)
    kept = fit_classifier(classifier, inputs, settings, {}, rng)
    return predictor_of(classifier, kept, inputs.runtime)


def load(folder: Path, runtime: Runtime) -> Predictor:
    """Read the trained blocks into the backbone's architecture."""
    from tunewise.training.installing import load_plain

    return load_plain(folder, runtime)


def thaw_top(classifier: Classifier, k: int) -> None:
    """Leave only the top ``k`` blocks, the norm above them and the output layer trainable."""
    from tunewise.training.blocks import blocks_of, norm_above

    model = classifier.pretrained
    blocks = blocks_of(model)
    model.requires_grad_(requires_grad=False)
    for i in blocks.top(k):
        model.get_submodule(blocks.named(i)).requires_grad_()
    if (norm := norm_above(model)) is not None:
        norm.requires_grad_()


METHOD = Method(
    settings=LastLayersSettings,
    fit=fit,
    load=load,
    trains="the top blocks and an output layer",
    source="Howard & Ruder 2018, arXiv:1801.06146",
    needs=frozenset({Need.TRUNK}),
    is_default=False,
    badges=frozenset({"pytorch", "huggingface"}),
)
