"""Training a trunk so that texts of one class lie close together, and the linear boundary on what it then gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch.nn import functional

from tunewise.backbones.loading import load_tokenizer
from tunewise.classical import Linear, present_classes, row_weights
from tunewise.training.batches import collate, encode, passes
from tunewise.training.classifier import SCORING_TOKENS, probabilities
from tunewise.training.fitting import TRAINING_TOKENS
from tunewise.training.keeping import keep
from tunewise.training.loop import Task, train
from tunewise.training.optimizer import adamw
from tunewise.training.seen_tokens import only_seen_tokens

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tunewise.contracts import Backbone, Inputs, Matrix
    from tunewise.rng import Rng
    from tunewise.training.batches import Encoded
    from tunewise.training.classifier import Classifier
    from tunewise.training.keeping import Kept
    from tunewise.training.settings import TrunkSettings

ABSENT = -1e4
"""The score of a class that no training row has; its probability is 0 in float32."""


def pair_loss(vectors: Tensor, labels: Tensor) -> Tensor:
    """Return the squared error of the cosine of every pair: 1 is wanted within a class, 0 across classes.

    Pairs of one kind weigh as much as those of the other, however many there are; without a pair the loss is 0.

    Shapes:
        vectors (n, d), labels (n,) -> ()
    """
    unit = functional.normalize(vectors.float(), dim=-1)
    first, second = torch.triu_indices(len(unit), len(unit), 1, device=unit.device)
    cosine, is_same = (unit @ unit.T)[first, second], labels[first] == labels[second]
    errors = [(cosine[is_same] - 1.0).square(), cosine[~is_same].square()]
    present = [error.mean() for error in errors if len(error)]
    # Without a pair the gradient is zero, yet there has to be one.
    return torch.stack(present).mean() if present else vectors.sum() * 0.0


def fit_contrastive(classifier: Classifier, inputs: Inputs, settings: TrunkSettings, c: float, rng: Rng) -> Kept:
    """Train the trunk on pairs of each batch, then fit the output layer on its vectors; the best epoch is kept.

    Args:
        classifier: The backbone with an output layer, which is overwritten.
        inputs: Training and development rows.
        settings: Step sizes and schedule.
        c: The inverse strength of the logistic regression's penalty.
        rng: Order of the rows and dropout come from it.
    """
    device = classifier.device.kind
    tokenizer = load_tokenizer(cast("Backbone", inputs.runtime.backbone))
    rows, development = (encode(tokenizer, part.texts) for part in (inputs.train, inputs.development))
    labels = torch.from_numpy(inputs.train.labels).to(device)
    classifier.head.requires_grad_(requires_grad=False)

    def loss(part: np.ndarray) -> Tensor:
        return pair_loss(classifier.vectors(collate(rows, part, device)), labels[torch.from_numpy(part).to(device)])

    def answer() -> Matrix:
        fit_boundary(classifier, rows, inputs, c)
        return probabilities(classifier, development, len(inputs.classes))

    task = Task(
        logits=lambda part: classifier(collate(rows, part, device)),
        development=answer,
        lengths=rows.lengths,
        max_tokens=TRAINING_TOKENS[device],
        device=device,
        n_scores=inputs.epochs,
        loss=loss,
    )
    seen = torch.from_numpy(np.unique(np.concatenate([[rows.pad], *rows.tokens.ids]))).long()
    with only_seen_tokens(classifier.pretrained, seen):
        optimizer = adamw([(classifier.trunk, settings.learning_rate)], settings.weight_decay)
        epoch = train(classifier, optimizer, task, settings, inputs, rng)
    fit_boundary(classifier, rows, inputs, c)
    classifier.head.requires_grad_()
    return keep(classifier, len(inputs.classes), {"epoch": epoch}, {})


def fit_boundary(classifier: Classifier, rows: Encoded, inputs: Inputs, c: float) -> None:
    """Put logistic regression on the trunk's vectors of length 1 into the output layer.

    Raises:
        FitError: If the training rows hold fewer than two classes.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    features = _vectors(classifier, rows)
    present, positions = present_classes(inputs.train.labels)
    with threadpool_limits(1):
        model: Any = LogisticRegression(C=c, max_iter=1000)
        model.fit(features.astype("float64"), positions, sample_weight=row_weights(inputs))
    linear = Linear.of(model, present, len(inputs.classes))
    last = cast("nn.Linear", classifier.head[-1])
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(ABSENT)
        last.bias[torch.from_numpy(present)] = 0.0
        argued = torch.from_numpy(present[-len(linear.bias) :])
        # The output layer brings vectors to length sqrt(d) first.
        last.weight[argued] = torch.from_numpy(linear.weights).to(last.weight.device) / features.shape[1] ** 0.5
        last.bias[argued] = torch.from_numpy(linear.bias).to(last.bias.device)


def _vectors(classifier: Classifier, rows: Encoded) -> Matrix:
    device, lengths = classifier.device.kind, rows.lengths
    found: Matrix | None = None
    with torch.inference_mode():
        for part in passes(np.arange(len(lengths)), lengths, SCORING_TOKENS[device]):
            unit = functional.normalize(classifier.vectors(collate(rows, part, device)), dim=-1).cpu().numpy()
            found = np.empty((len(lengths), unit.shape[1]), dtype=np.float32) if found is None else found
            found[part] = unit
    return cast("Matrix", found)
