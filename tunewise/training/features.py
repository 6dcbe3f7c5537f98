"""Output layers over frozen features: the loop without a trunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from tunewise.classical import FeaturePredictor, embed_of, read_chosen
from tunewise.rng import Rng
from tunewise.training.classifier import OutputLayers
from tunewise.training.keeping import Kept, fill, keep, read_kept
from tunewise.training.loop import Task, train
from tunewise.training.optimizer import adamw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tunewise.contracts import Inputs, Matrix, Runtime
    from tunewise.training.settings import GradientSettings


N_SCORES = 20
"""Scoring features takes milliseconds, so the best epoch is looked for more closely than with a trunk."""


@dataclass(frozen=True, eq=False)
class Head:
    """Output layers as a classifier of features."""

    layers: OutputLayers
    kept: Kept

    @property
    def n_numbers(self) -> int:
        """Return how many numbers the layers hold."""
        return self.kept.n_trained_parameters

    @property
    def n_kept(self) -> int:
        """Return the same: nothing else is kept."""
        return self.n_numbers

    def probabilities(self, features: Matrix) -> Matrix:
        """Return class probabilities. Shapes: (n, d) -> (n, n_classes), float32."""
        return _answers(self.layers, _tensor(features))

    def save(self, folder: Path) -> None:
        """Write the layers."""
        self.kept.save(folder)


def fit_head(inputs: Inputs, settings: GradientSettings, hidden_layers: Sequence[int], rng: Rng) -> FeaturePredictor:
    """Train output layers of the given widths on features of the training rows.

    Args:
        inputs: Training and development rows; features come from ``inputs.runtime.embed``.
        settings: Step size and schedule.
        hidden_layers: Widths between features and classes, from below.
        rng: First weights, order of the rows and dropout come from it.
    """
    embed = embed_of(inputs.runtime)
    features, development = (_tensor(embed(part.texts)) for part in (inputs.train, inputs.development))
    with rng.child("head").torch():
        layers = OutputLayers(features.shape[1], hidden_layers, len(inputs.classes), settings.dropout)
    task = Task(
        logits=lambda rows: layers(features[torch.from_numpy(rows)]),
        development=lambda: _answers(layers, development),
        lengths=np.ones(len(features), dtype=np.int64),
        max_tokens=settings.batch_size,
        device="cpu",
        n_scores=max(inputs.epochs, N_SCORES),
    )
    epoch = train(layers, adamw([(layers, settings.learning_rate)], settings.weight_decay), task, settings, inputs, rng)
    shape = {"width": features.shape[1], "hidden_layers": list(hidden_layers)}
    kept = keep(layers, len(inputs.classes), {"epoch": epoch}, shape)
    return FeaturePredictor(Head(layers.requires_grad_(requires_grad=False), kept), inputs.runtime, kept.chosen)


def load_head(folder: Path, runtime: Runtime) -> FeaturePredictor:
    """Return the predictor whose output layers ``folder`` holds."""
    kept = read_kept(folder)
    with Rng(0).torch():
        layers = OutputLayers(kept.shape["width"], kept.shape["hidden_layers"], kept.n_classes, dropout=0.0)
    fill(layers, kept)
    return FeaturePredictor(Head(layers.requires_grad_(requires_grad=False).eval(), kept), runtime, read_chosen(folder))


def _answers(layers: OutputLayers, features: torch.Tensor) -> Matrix:
    with torch.inference_mode():
        return layers(features).softmax(-1).numpy()


def _tensor(features: Matrix) -> torch.Tensor:
    # A copy: cached features may be read-only, and torch warns of those.
    return torch.from_numpy(np.array(features, dtype=np.float32))
