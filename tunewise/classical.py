"""What classifiers over fixed features share: choosing a setting, classes without rows, the linear form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from tunewise.errors import FitError
from tunewise.evaluation.metrics import answers_of, gain, metric_named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tunewise.contracts import Embed, Inputs, Matrix, Runtime, Texts

CHOSEN = "chosen.json"
LINEAR = "linear.safetensors"


class Classifier(Protocol):
    """A fitted map from features to class probabilities."""

    @property
    def n_numbers(self) -> int:
        """Return how many numbers the fit set; `n_trained_parameters` of the predictor."""
        ...

    @property
    def n_kept(self) -> int:
        """Return how many numbers answer a text besides the backbone's."""
        ...

    def probabilities(self, features: Any) -> Matrix:
        """Return class probabilities. Shapes: (n, d) -> (n, n_classes), float32."""
        ...

    def save(self, folder: Path) -> None:
        """Write the classifier into ``folder``."""
        ...


@dataclass(frozen=True, eq=False)
class FeaturePredictor:
    """A classifier on the frozen features of a backbone."""

    classifier: Classifier
    runtime: Runtime
    chosen: dict[str, Any]

    @property
    def n_trained_parameters(self) -> int:
        """Return how many numbers the fit set."""
        return self.classifier.n_numbers

    @property
    def n_total_parameters(self) -> int:
        """Return what the classifier keeps and the backbone."""
        return self.classifier.n_kept + (self.runtime.backbone.n_parameters if self.runtime.backbone else 0)

    def predict(self, texts: Texts) -> Matrix:
        """Return class probabilities. Shape: (n_texts, n_classes)."""
        return self.classifier.probabilities(embed_of(self.runtime)(texts))

    def save(self, folder: Path) -> None:
        """Write the classifier and what was chosen."""
        write_chosen(self.chosen, folder)
        self.classifier.save(folder)


@dataclass(frozen=True, eq=False)
class Linear:
    """Softmax of ``scale * (features @ weights.T + bias)``.

    Two classes need one row of weights: it argues for the second, and the first one's logit is 0.
    Arithmetic on arrays of our own, so that a stored classifier answers as the fitted one, bit for bit.

    Shapes:
        weights: (m, d), bias: (m,) with m the number of present classes, or 1 where there are two.
        present: (n_present,), the classes the training rows hold; the others get probability 0.
    """

    weights: np.ndarray
    bias: np.ndarray
    present: np.ndarray
    n_classes: int
    scale: float = 1.0

    @property
    def n_numbers(self) -> int:
        """Return the count of weights and biases."""
        return self.weights.size + self.bias.size

    @property
    def n_kept(self) -> int:
        """Return the same: nothing else is kept."""
        return self.n_numbers

    def margins(self, features: Any) -> np.ndarray:
        """Return the logits before scaling. Shapes: (n, d) -> (n, n_present), float64."""
        logits = np.asarray(features @ self.weights.T, dtype=np.float64) + self.bias
        return np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits

    def probabilities(self, features: Any) -> Matrix:
        """Return class probabilities. Shapes: (n, d), dense or sparse -> (n, n_classes), float32."""
        return spread(softmax(self.scale * self.margins(features)), self.present, self.n_classes)

    def save(self, folder: Path) -> None:
        """Write the arrays and the scale."""
        scale, n_classes = np.array([self.scale]), np.array([self.n_classes])
        arrays = {"weights": self.weights, "bias": self.bias, "present": self.present, "scale": scale, "n_classes": n_classes}
        write_arrays(arrays, folder / LINEAR)

    @classmethod
    def load(cls, folder: Path) -> Linear:
        """Read what `save` wrote."""
        arrays = read_arrays(folder / LINEAR)
        scale, n_classes = float(arrays.pop("scale")[0]), int(arrays.pop("n_classes")[0])
        return cls(**arrays, n_classes=n_classes, scale=scale)

    @classmethod
    def of(cls, estimator: Any, present: np.ndarray, n_classes: int) -> Linear:
        """Return the linear form of a fitted scikit-learn estimator, in float32."""
        weights = np.ascontiguousarray(estimator.coef_, dtype=np.float32)
        return cls(weights, np.ascontiguousarray(estimator.intercept_, dtype=np.float32), present, n_classes)


C = TypeVar("C", bound=Classifier)


def choose(name: str, values: Sequence[Any], fit_with: Callable[[Any], C], features: Any, inputs: Inputs) -> tuple[Any, C]:
    """Return the value with which ``fit_with`` does best on development rows, and what it fitted; of equals the first.

    The fits count as fitting, scoring the development rows does not. Each value is kept as a step of the curve.

    Args:
        name: What is chosen, for progress and curve.
        values: The candidates; a single one is taken as it is.
        fit_with: Fits training rows with a value.
        features: Features of the development rows. Shape: (n_development, d).
        inputs: Says by which metric.
    """
    best: tuple[float, Any, C] | None = None
    for step, value in enumerate(values):
        inputs.monitor.progress(f"choosing {name}", step, len(values))
        classifier = fit_with(value)
        if len(values) == 1:
            return value, classifier
        with inputs.monitor.untimed():
            answers = answers_of(classifier.probabilities(features), inputs.development.labels)
            reached = gain(inputs.metric, answers)
            value_of_metric = metric_named(inputs.metric)(answers)
            inputs.monitor.record(step, **{name: float(value), f"development_{inputs.metric}": value_of_metric})
        if best is None or reached > best[0]:
            best = reached, value, classifier
    if best is None:
        raise FitError(f"{name} has no value to choose from. Give at least one.")
    return best[1], best[2]


def embed_of(runtime: Runtime) -> Embed:
    """Return the features' source.

    Raises:
        FitError: If the runtime has none.
    """
    if runtime.embed is None:
        raise FitError(
            "This method works on frozen features and the runtime has no `embed`. Open a backbone and give its embedder."
        )
    return runtime.embed


def present_classes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes that have rows, and the labels counted among these alone.

    Libraries number classes without gaps; a budget of few rows can leave a rare class without any.

    Raises:
        FitError: If there are fewer than two classes.
    """
    present, positions = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        raise FitError(f"The training rows hold {len(present)} class; a classifier needs two. Raise the budget or add rows.")
    return present.astype(np.int64), positions.astype(np.int64)


def spread(probabilities: np.ndarray, present: np.ndarray, n_classes: int) -> Matrix:
    """Return probabilities over all classes, 0 for those without training rows. Shapes: (n, n_present) -> (n, n_classes)."""
    wide = np.zeros((len(probabilities), n_classes), dtype=np.float32)
    wide[:, present] = probabilities
    return wide


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of each row. Shapes: (n, k) -> (n, k)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def row_weights(inputs: Inputs) -> np.ndarray:
    """Return each training row's weight, its class's. Shape: (n_train,)."""
    return inputs.class_weights[inputs.train.labels].astype(np.float64)


def write_chosen(chosen: Mapping[str, Any], folder: Path) -> None:
    """Write what a fit chose."""
    (folder / CHOSEN).write_text(json.dumps(dict(chosen)))


def read_chosen(folder: Path) -> dict[str, Any]:
    """Read what `write_chosen` wrote."""
    return json.loads((folder / CHOSEN).read_text())


def write_arrays(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write named arrays as safetensors."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read named arrays into memory of their own, so that they are aligned as freshly computed ones are."""
    from safetensors.numpy import load_file

    return {name: np.array(array) for name, array in load_file(path).items()}
