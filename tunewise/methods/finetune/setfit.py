"""SetFit: the backbone is trained to put texts of one class close together, then a linear boundary is fitted on it.

Few labels make many pairs: n rows give n (n - 1) / 2, each saying whether two texts belong together. The cosine of the
two texts' vectors is drawn to 1 within a class and to 0 across classes; logistic regression on the vectors answers.
Meant for a handful of labels per class; with thousands, training on the classes themselves teaches more per step.

Ours, because the setfit library stores its boundary as a pickle, trains in a loop of its own whose fits can be neither
resumed nor measured like the others, and needs sentence-transformers models; its idea is the loss below.

Source: Tunstall et al. 2022, "Efficient few-shot learning without prompts", arXiv:2209.11055, section 3.
Differs from the source: pairs are all those within a batch, the two kinds weighing the same, not a fixed number drawn
beforehand; the epoch whose boundary is best on development rows is kept.
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


class SetfitSettings(TrunkSettings):
    """Settings of ``setfit``."""

    learning_rate: float = Field(5e-5, gt=0, le=1, description="Highest step size of AdamW for the backbone's weights.")
    c: float = Field(1.0, gt=0, description="C, the inverse strength of the logistic regression's penalty.")


def fit(inputs: Inputs, settings: SetfitSettings, *, rng: Rng) -> Predictor:
    """Train the backbone on pairs of ``inputs.train`` and fit the boundary on it.

    Raises:
        FitError: If the training rows hold fewer than two classes.
    """
    with inputs.monitor.untimed():  # the import of a library is no cost of the method that comes first
        from tunewise.training.contrastive import fit_contrastive
        from tunewise.training.fitting import predictor_of, start_classifier

    classifier = start_classifier(inputs, settings.dropout, rng)
    kept = fit_contrastive(classifier, inputs, settings, settings.c, rng)
    return predictor_of(classifier, kept, inputs.runtime)


def load(folder: Path, runtime: Runtime) -> Predictor:
    """Read the trained weights and the boundary into the backbone's architecture."""
    from tunewise.training.installing import load_plain

    return load_plain(folder, runtime)


METHOD = Method(
    settings=SetfitSettings,
    fit=fit,
    load=load,
    trains="every weight on pairs of texts, then a linear boundary",
    source="Tunstall et al. 2022, arXiv:2209.11055",
    needs=frozenset({Need.TRUNK}),
    is_default=False,
    badges=frozenset({"pytorch", "huggingface", "scikitlearn"}),
)
