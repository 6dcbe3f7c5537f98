"""Output layers over frozen features: the loop without a trunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tunewise.rng import Rng
from tunewise.training.classifier import OutputLayers
from tunewise.training.keeping import Kept, fill, keep, read_kept
from tunewise.training.loop import Task, train
from tunewise.training.optimizer import adamw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tunewise.contracts import Backbone, Embed, Inputs, Matrix, Runtime, Texts
    from tunewise.training.settings import GradientSettings


N_SCORES = 20
"""Scoring features takes milliseconds, so the best epoch is looked for more closely than with a trunk."""


@dataclass(frozen=True, eq=False)
class FeaturePredictor:
    """Answers with output layers over the features of a frozen backbone."""

    head: OutputLayers
    embed: Embed
    kept: Kept

    @property
    def n_trained_parameters(self) -> int:
        """Return how many numbers the output layers hold."""
        return self.kept.n_trained_parameters

    @property
    def n_total_parameters(self) -> int:
        """Return the numbers of backbone and output layers."""
        return self.kept.n_total_parameters

    @property
    def chosen(self) -> dict[str, Any]:
        """Return the epoch whose weights were kept."""
        return self.kept.chosen

    def predict(self, texts: Texts) -> Matrix:
        """Return class probabilities. Shape: (n_texts, n_classes)."""
        if not len(texts):
            return np.empty((0, self.kept.n_classes), dtype=np.float32)
        return _answers(self.head, _tensor(self.embed(texts)))

    def save(self, folder: Path) -> None:
        """Write the output layers."""
        self.kept.save(folder)


def fit_head(inputs: Inputs, settings: GradientSettings, hidden_layers: Sequence[int], rng: Rng) -> FeaturePredictor:
    """Train output layers of the given widths on features of the training rows.

    Args:
        inputs: Training and development rows; features come from ``inputs.runtime.embed``.
        settings: Step size and schedule.
        hidden_layers: Widths between features and classes, from below.
        rng: First weights, order of the rows and dropout come from it.
    """
    backbone, embed = _sources(inputs.runtime)
    features, development = (_tensor(embed(part.texts)) for part in (inputs.train, inputs.development))
    with rng.child("head").torch():
        head = OutputLayers(backbone.hidden_size, hidden_layers, len(inputs.classes), settings.dropout)
    task = Task(
        logits=lambda rows: head(features[torch.from_numpy(rows)]),
        development=lambda: _answers(head, development),
        lengths=np.ones(len(features), dtype=np.int64),
        max_tokens=settings.batch_size,
        device="cpu",
        n_scores=max(inputs.epochs, N_SCORES),
    )
    epoch = train(head, adamw([(head, settings.learning_rate)], settings.weight_decay), task, settings, inputs, rng)
    shape = {"hidden_layers": list(hidden_layers)}
    kept = keep(head, len(inputs.classes), {"epoch": epoch}, shape, n_besides=backbone.n_parameters)
    return FeaturePredictor(head.requires_grad_(requires_grad=False), embed, kept)


def load_head(folder: Path, runtime: Runtime) -> FeaturePredictor:
    """Return the predictor whose output layers ``folder`` holds."""
    backbone, embed = _sources(runtime)
    kept = read_kept(folder)
    with Rng(0).torch():
        head = OutputLayers(backbone.hidden_size, kept.shape["hidden_layers"], kept.n_classes, dropout=0.0)
    fill(head, kept)
    return FeaturePredictor(head.requires_grad_(requires_grad=False).eval(), embed, kept)


def _answers(head: OutputLayers, features: torch.Tensor) -> Matrix:
    with torch.inference_mode():
        return head(features).softmax(-1).numpy()


def _tensor(features: Matrix) -> torch.Tensor:
    # A copy: cached features may be read-only, and torch warns of those.
    return torch.from_numpy(np.array(features, dtype=np.float32))


def _sources(runtime: Runtime) -> tuple[Backbone, Embed]:
    if runtime.backbone is None or runtime.embed is None:
        raise TypeError("This method needs a backbone and its features, and the runtime does not hold both.")
    return runtime.backbone, runtime.embed
