"""Fits and answers of methods that train a classifier over a trunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tunewise.backbones.loading import load_tokenizer
from tunewise.rng import Rng
from tunewise.training.batches import encode
from tunewise.training.classifier import Classifier, new_classifier, probabilities
from tunewise.training.frozen_blocks import above_frozen_blocks
from tunewise.training.keeping import Kept, keep
from tunewise.training.loop import Task, train
from tunewise.training.optimizer import adamw
from tunewise.training.seen_tokens import only_seen_tokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

    from tunewise.contracts import Backbone, Inputs, Matrix, Runtime, Texts
    from tunewise.training.batches import Batch, Encoded
    from tunewise.training.settings import TrunkSettings

TRAINING_TOKENS = {"cpu": 2048, "cuda": 32_768}
"""Padded tokens of one forward pass with gradients, whose activations all stay in memory."""


@dataclass(frozen=True, eq=False)
class TrunkPredictor:
    """Answers with a trunk and its output layers; the same whether just fitted or loaded."""

    classifier: Classifier
    tokenizer: PreTrainedTokenizerFast
    kept: Kept

    @property
    def n_trained_parameters(self) -> int:
        """Return how many numbers the fit set."""
        return self.kept.n_trained_parameters

    @property
    def n_total_parameters(self) -> int:
        """Return the backbone's numbers without pooler and language-model head, and all that was added while training."""
        return self.kept.n_total_parameters

    @property
    def chosen(self) -> dict[str, Any]:
        """Return the epoch whose weights were kept."""
        return self.kept.chosen

    def predict(self, texts: Texts) -> Matrix:
        """Return class probabilities. Shape: (n_texts, n_classes)."""
        return probabilities(self.classifier, encode(self.tokenizer, texts), self.kept.n_classes)

    def save(self, folder: Path) -> None:
        """Write the trained numbers and what they are."""
        self.kept.save(folder)


def start_classifier(inputs: Inputs, dropout: float, rng: Rng) -> Classifier:
    """Return the backbone with a new output layer, ready to be trained; first weights come from the stream ``head``."""
    with rng.child("head").torch():
        return new_classifier(_backbone(inputs.runtime), len(inputs.classes), inputs.runtime.device, dropout=dropout)


def blank_classifier(kept: Kept, runtime: Runtime) -> Classifier:
    """Return the backbone with an output layer whose weights are still to be filled in."""
    with Rng(0).torch():
        return new_classifier(_backbone(runtime), kept.n_classes, runtime.device, dropout=0.0)


def fit_classifier(
    classifier: Classifier,
    inputs: Inputs,
    settings: TrunkSettings,
    shape: dict[str, Any],
    rng: Rng,
    *,
    share: Callable[[str], float] = lambda _: 1.0,
) -> Kept:
    """Train what is trainable in ``classifier`` and return it; the classifier is left with the weights of its best epoch.

    Args:
        classifier: Trunk and output layers; which parameters are trained is decided by the caller.
        inputs: Training and development rows.
        settings: Step sizes and schedule.
        shape: What the method needs to build the classifier again.
        rng: Order of the rows and dropout come from it.
        share: The share of the step size that a parameter of the trunk gets, by its name.
    """
    tokenizer = load_tokenizer(_backbone(inputs.runtime))
    rows, development = (encode(tokenizer, part.texts) for part in (inputs.train, inputs.development))
    parts = (rows, development)
    with only_seen_tokens(classifier.pretrained, _tokens_of(rows)), above_frozen_blocks(classifier, parts, inputs) as batches:
        head = (classifier.head, settings.head_learning_rate)
        optimizer = adamw([(classifier.trunk, lambda name: settings.learning_rate * share(name)), head], settings.weight_decay)
        task = _task(classifier, parts, batches, inputs)
        epoch = train(classifier, optimizer, task, settings, inputs, rng)
    return keep(classifier, len(inputs.classes), {"epoch": epoch}, shape)


def predictor_of(classifier: Classifier, kept: Kept, runtime: Runtime) -> TrunkPredictor:
    """Return the predictor; ``classifier`` answers from now on and can be trained no more.

    In bfloat16 the linear layers are rounded once, as each forward pass would round them, so that answers
    stay the same and a single text does not wait for it. ``kept`` holds them in full.
    """
    classifier.requires_grad_(requires_grad=False).eval()
    if runtime.device.dtype == "bfloat16":
        for layer in classifier.trunk.modules():
            if type(layer) is nn.Linear:
                layer.to(torch.bfloat16)
    return TrunkPredictor(classifier, load_tokenizer(_backbone(runtime)), kept)


def _task(classifier: Classifier, parts: tuple[Encoded, Encoded], batches: list[Batch], inputs: Inputs) -> Task:
    device, (rows, development), (batch, batch_of_development) = classifier.device.kind, parts, batches
    return Task(
        logits=lambda part: classifier(batch(part)),
        development=lambda: probabilities(classifier, development, len(inputs.classes), batch_of_development),
        lengths=rows.lengths,
        max_tokens=TRAINING_TOKENS[device],
        device=device,
        n_scores=inputs.epochs,
    )


def _tokens_of(rows: Encoded) -> torch.Tensor:
    return torch.from_numpy(np.unique(np.concatenate([[rows.pad], *rows.tokens.ids]))).long()


def _backbone(runtime: Runtime) -> Backbone:
    if runtime.backbone is None:
        raise TypeError("This method needs a backbone, and the runtime holds none.")
    return runtime.backbone
