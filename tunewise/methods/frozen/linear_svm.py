"""Linear support vector machine on frozen features: one margin per class against the rest.

Margins become probabilities by a softmax over ``scale * margin``. The one number ``scale`` is fitted to
the development rows' likelihood; it keeps the order of the margins, so the answer stays the machine's.

Source: Cortes & Vapnik 1995, "Support-vector networks"; squared hinge and the primal solver of Fan et al.
2008, "LIBLINEAR"; the scale is the temperature of Guo et al. 2017, arXiv:1706.04599, section 4.2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
from pydantic import Field

from tunewise.classical import (
    FeaturePredictor,
    Linear,
    choose,
    embed_of,
    present_classes,
    read_chosen,
    row_weights,
)
from tunewise.contracts import Method, Need, Settings
from tunewise.evaluation.metrics import answers_of, log_loss

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Inputs, Matrix, Runtime
    from tunewise.rng import Rng

LOG_SCALES = (-4.0, 4.0)
"""Natural logarithms of the least and the largest scale: development rows that margins separate without error
would ask for an infinite one."""


class LinearSvmSettings(Settings):
    """Settings of ``linear_svm``."""

    c: list[Annotated[float, Field(gt=0)]] = Field(
        [0.1, 0.3, 1.0, 3.0],
        min_length=1,
        description="C, the weight of the margin errors; the best on development rows is taken, a single one fixes it.",
    )
    max_iterations: int = Field(1_000, gt=0, description="Most steps of the trust region solver.")


def fit(inputs: Inputs, settings: LinearSvmSettings, *, rng: Rng) -> FeaturePredictor:  # noqa: ARG001 - nothing is drawn
    """Fit every ``C`` on the training rows, scale its margins and keep the best on development rows.

    Raises:
        FitError: If the training rows hold fewer than two classes.
    """
    embed = embed_of(inputs.runtime)
    features, features_of_development = embed(inputs.train.texts), embed(inputs.development.texts)

    def fit_with(c: float) -> Linear:
        margins = _fit(features, inputs, c, settings.max_iterations)
        return scaled(margins, features_of_development, inputs.development.labels)

    c, classifier = choose("c", settings.c, fit_with, features_of_development, inputs)
    return FeaturePredictor(classifier, inputs.runtime, {"c": c, "scale": classifier.scale})


def _fit(features: Matrix, inputs: Inputs, c: float, max_iterations: int) -> Linear:
    from sklearn.svm import LinearSVC
    from threadpoolctl import threadpool_limits

    present, positions = present_classes(inputs.train.labels)
    with threadpool_limits(1):
        # The primal solver draws nothing at random; the dual one shuffles.
        model = cast("Any", LinearSVC)(C=c, dual=False, max_iter=max_iterations)
        model.fit(features.astype("float64"), positions, sample_weight=row_weights(inputs))
    return Linear.of(model, present, len(inputs.classes))


def scaled(classifier: Linear, features: Matrix, labels: np.ndarray) -> Linear:
    """Return ``classifier`` with the scale under which ``labels`` are most likely.

    Shapes:
        features: (n, d), labels: (n,)
    """
    from scipy.optimize import minimize_scalar

    def loss(log_scale: float) -> float:
        return log_loss(answers_of(replace(classifier, scale=float(np.exp(log_scale))).probabilities(features), labels))

    best = minimize_scalar(loss, bounds=LOG_SCALES, method="bounded", options={"xatol": 1e-3})
    return replace(classifier, scale=float(np.exp(best.x)))


def load(folder: Path, runtime: Runtime) -> FeaturePredictor:
    """Read the weights and the scale."""
    return FeaturePredictor(Linear.load(folder), runtime, read_chosen(folder))


METHOD = Method(
    settings=LinearSvmSettings,
    fit=fit,
    load=load,
    trains="one linear layer on frozen features",
    source="Cortes & Vapnik 1995",
    needs=frozenset({Need.EMBEDDINGS}),
    is_seeded=False,
    badges=frozenset({"scikitlearn"}),
)
