"""Fine-tuning II: every layer of the backbone is trained, together with a new output layer.

The strongest use of a backbone where labels suffice, and the most expensive to store: each task keeps
its own copy of all weights. Token embeddings are trained too; words that no training text has stay as
they are. With ``layer_decay`` below 1, lower blocks take smaller steps, so that what they learned in pretraining moves
less than what lies above them.

Source: Devlin et al. 2019, "BERT", arXiv:1810.04805, section 3.2. Raschka 2023, "Finetuning large
language models", calls it "Finetuning II". Clark et al. 2020, "ELECTRA", arXiv:2003.10555, appendix B, for ``layer_decay``.
Differs from the source: the step size is higher, as small backbones need it, and texts are pooled as
the backbone was trained to be, not always at the first token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tunewise.contracts import Method, Need
from tunewise.training.settings import TrunkSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tunewise.contracts import Inputs, Predictor, Runtime
    from tunewise.rng import Rng
    from tunewise.training.classifier import Classifier


class AllLayersSettings(TrunkSettings):
    """Settings of ``all_layers``."""

    learning_rate: float = Field(1e-4, gt=0, le=1, description="Highest step size of AdamW for the backbone's weights.")
    layer_decay: float = Field(1.0, gt=0, le=1, description="Share of a block's step size that the block below it takes.")
    freeze_embeddings: bool = Field(False, description="Leave the token embeddings, half of a small encoder, as they are.")


def fit(inputs: Inputs, settings: AllLayersSettings, *, rng: Rng) -> Predictor:
    """Train all weights on ``inputs.train``; the epoch that is best on ``inputs.development`` is kept."""
    with inputs.monitor.untimed():  # the import of a library is no cost of the method that comes first
        from tunewise.training.fitting import fit_classifier, predictor_of, start_classifier

    classifier = start_classifier(inputs, settings.dropout, rng)
    classifier.pretrained.get_input_embeddings().requires_grad_(not settings.freeze_embeddings)
    kept = fit_classifier(classifier, inputs, settings, {}, rng, share=shares(classifier, settings.layer_decay))
    return predictor_of(classifier, kept, inputs.runtime)


def shares(classifier: Classifier, layer_decay: float) -> Callable[[str], float]:
    """Return what gives a parameter's share of the step size by its name in the trunk.

    The top block and what lies above take all of it, each block below takes ``layer_decay`` of the one above it, and
    the embeddings, with whatever else lies in no block, that of the lowest.

    Raises:
        BackboneError: If the blocks are not known and their step sizes should differ.
    """
    from tunewise.training.blocks import blocks_of, norm_above

    if layer_decay == 1:
        return lambda _: 1.0
    model = classifier.pretrained
    blocks, norm = blocks_of(model), norm_above(model)
    above = {name for name, module in model.named_modules() if norm is not None and module is norm}

    def share(name: str) -> float:
        number = blocks.number_of(name)
        if number is None:
            number = blocks.n - 1 if name.rpartition(".")[0] in above else -1
        return layer_decay ** (blocks.n - 1 - number)

    return share


def load(folder: Path, runtime: Runtime) -> Predictor:
    """Read the trained weights into the backbone's architecture."""
    from tunewise.training.fitting import blank_classifier, predictor_of
    from tunewise.training.keeping import fill, read_kept

    kept = read_kept(folder)
    classifier = blank_classifier(kept, runtime)
    fill(classifier, kept)
    return predictor_of(classifier, kept, runtime)


METHOD = Method(
    settings=AllLayersSettings,
    fit=fit,
    load=load,
    trains="every weight and an output layer",
    source="Devlin et al. 2019, arXiv:1810.04805",
    needs=frozenset({Need.TRUNK}),
    badges=frozenset({"pytorch", "huggingface"}),
)
