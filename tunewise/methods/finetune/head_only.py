"""Fine-tuning I: one or more new output layers are trained, the backbone is frozen.

A frozen trunk gives the same vector for a text in every epoch, so the vectors are computed once, are
shared with all methods that use them, and only the output layers are stepped. With dropout in the output
layers alone, as here, that is the same as sending every batch through the trunk, at a fraction of its
price.

Source: Raschka 2023, "Finetuning large language models", "Finetuning I"; Howard & Ruder 2018,
arXiv:1801.06146, section 3.3, for hidden layers between features and classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from tunewise.contracts import Method, Need
from tunewise.training.settings import GradientSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Inputs, Predictor, Runtime
    from tunewise.rng import Rng


class HeadOnlySettings(GradientSettings):
    """Settings of ``head_only``."""

    learning_rate: float = Field(3e-3, gt=0, le=1, description="Highest step size of AdamW.")
    min_steps: int = Field(2000, ge=0, le=1_000_000, description="Least number of optimizer steps; each takes 0.5 ms.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of features and hidden activations dropped while training.")
    hidden_layers: list[Annotated[int, Field(gt=0, le=65_536)]] = Field(
        [], max_length=16, description="Widths of further layers between the features and the classes, from below."
    )


def fit(inputs: Inputs, settings: HeadOnlySettings, *, rng: Rng) -> Predictor:
    """Train the output layers on the features of ``inputs.train``; the epoch that is best on development rows is kept."""
    with inputs.monitor.untimed():  # the import of a library is no cost of the method that comes first
        from tunewise.training.features import fit_head

    return fit_head(inputs, settings, settings.hidden_layers, rng)


def load(folder: Path, runtime: Runtime) -> Predictor:
    """Read the output layers."""
    from tunewise.training.features import load_head

    return load_head(folder, runtime)


METHOD = Method(
    settings=HeadOnlySettings,
    fit=fit,
    load=load,
    trains="output layers",
    source="Raschka 2023, Finetuning I",
    needs=frozenset({Need.EMBEDDINGS}),
    badges=frozenset({"pytorch"}),
)
