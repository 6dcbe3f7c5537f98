"""Logistic regression on frozen features: a linear boundary, fitted by maximum penalised likelihood.

The objective is convex and solved by L-BFGS from zero, so no seed enters. ``C`` is chosen on
development rows; the features have length 1, which is why useful values lie above scikit-learn's 1.

Source: Hastie, Tibshirani & Friedman 2009, "The Elements of Statistical Learning", section 4.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from tunewise.classical import FeaturePredictor, Linear, choose, embed_of, present_classes, read_chosen, row_weights
from tunewise.contracts import Method, Need, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Inputs, Matrix, Runtime
    from tunewise.rng import Rng


class LogisticRegressionSettings(Settings):
    """Settings of ``logistic_regression``."""

    c: list[Annotated[float, Field(gt=0)]] = Field(
        [0.3, 1.0, 3.0, 10.0, 30.0],
        min_length=1,
        description="C, the inverse strength of the penalty; the best on development rows is taken, a single one fixes it.",
    )
    max_iterations: int = Field(1_000, gt=0, description="Most steps of L-BFGS.")


def fit(inputs: Inputs, settings: LogisticRegressionSettings, *, rng: Rng) -> FeaturePredictor:  # noqa: ARG001 - nothing is drawn
    """Fit every ``C`` on the training rows and keep the best on development rows.

    Raises:
        FitError: If the training rows hold fewer than two classes.
    """
    embed = embed_of(inputs.runtime)
    features = embed(inputs.train.texts)

    def fit_with(c: float) -> Linear:
        return _fit(features, inputs, c, settings.max_iterations)

    c, classifier = choose("c", settings.c, fit_with, embed(inputs.development.texts), inputs)
    return FeaturePredictor(classifier, inputs.runtime, {"c": c})


def _fit(features: Matrix, inputs: Inputs, c: float, max_iterations: int) -> Linear:
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    present, positions = present_classes(inputs.train.labels)
    # One thread and float64: sums in an order and precision that do not depend on the machine's cores.
    with threadpool_limits(1):
        model = LogisticRegression(C=c, max_iter=max_iterations)
        model.fit(features.astype("float64"), positions, sample_weight=row_weights(inputs))
    return Linear.of(model, present, len(inputs.classes))


def load(folder: Path, runtime: Runtime) -> FeaturePredictor:
    """Read the weights."""
    return FeaturePredictor(Linear.load(folder), runtime, read_chosen(folder))


METHOD = Method(
    settings=LogisticRegressionSettings,
    fit=fit,
    load=load,
    trains="one linear layer on frozen features",
    source="Hastie, Tibshirani & Friedman 2009, section 4.4",
    needs=frozenset({Need.EMBEDDINGS}),
    is_seeded=False,
    badges=frozenset({"scikitlearn"}),
)
