"""Fine-tuning II: every layer of the backbone is trained, together with a new output layer.

The strongest use of a backbone where labels suffice, and the most expensive to store: each task keeps
its own copy of all weights. Token embeddings are trained too; words that no training text has stay as
they are.

Source: Devlin et al. 2019, "BERT", arXiv:1810.04805, section 3.2. Raschka 2023, "Finetuning large
language models", calls it "Finetuning II".
Differs from the source: the step size is higher, as small backbones need it, and texts are pooled as
the backbone was trained to be, not always at the first token.
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


class AllLayersSettings(TrunkSettings):
    """Settings of ``all_layers``."""

    learning_rate: float = Field(1e-4, gt=0, le=1, description="Highest step size of AdamW for the backbone's weights.")
    freeze_embeddings: bool = Field(False, description="Leave the token embeddings, half of a small encoder, as they are.")


def fit(inputs: Inputs, settings: AllLayersSettings, *, rng: Rng) -> Predictor:
    """Train all weights on ``inputs.train``; the epoch that is best on ``inputs.development`` is kept."""
    with inputs.monitor.untimed():  # the import of a library is no cost of the method that comes first
        from tunewise.training.fitting import fit_classifier, predictor_of, start_classifier

    classifier = start_classifier(inputs, settings.dropout, rng)
    classifier.pretrained.get_input_embeddings().requires_grad_(not settings.freeze_embeddings)
    kept = fit_classifier(classifier, inputs, settings, {}, rng)
    return predictor_of(classifier, kept, inputs.runtime)


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
