"""Gradient-boosted trees on frozen features: each tree corrects the sum of those before it.

The number of rounds is chosen by early stopping on development rows, by log loss whatever the study's
metric: its steps are finer than accuracy's. Rounds after the best are cut off before the model is kept.

Source: Chen & Guestrin 2016, "XGBoost", arXiv:1603.02754; histogram cuts, its section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from tunewise.classical import (
    FeaturePredictor,
    embed_of,
    present_classes,
    read_arrays,
    read_chosen,
    row_weights,
    softmax,
    spread,
    write_arrays,
)
from tunewise.contracts import Method, Need, Settings
from tunewise.errors import FitError

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Device, Inputs, Matrix, Part, Runtime
    from tunewise.rng import Rng

FILE, CLASSES = "trees.ubj", "classes.safetensors"
ONE_THREAD_NUMBERS = 10_000_000
"""Training matrices with fewer numbers are boosted by one thread: a round is then so short that several threads
mostly wait for one another, and where cores are shared they wait in vain (measured: eight times slower)."""


class XgboostSettings(Settings):
    """Settings of ``xgboost``; the names are the source's where it has them."""

    max_rounds: int = Field(300, gt=0, description="Most rounds of boosting.")
    max_trees: int = Field(
        3_000,
        gt=0,
        description="Most trees in all; a round grows one per class (two classes: one), so many classes get fewer rounds.",
    )
    patience: int = Field(15, gt=0, description="Rounds without a better development log loss after which boosting ends.")
    learning_rate: float = Field(0.1, gt=0, le=1, description="eta, the share of each tree that is added.")
    max_depth: int = Field(4, gt=0, le=12, description="Most cuts between root and leaf.")
    subsample: float = Field(0.8, gt=0, le=1, description="Share of the rows each tree sees.")
    features_per_tree: float = Field(0.5, gt=0, le=1, description="Share of the features each tree sees.")


@dataclass(frozen=True, eq=False)
class Boosted:
    """A booster over the classes that have training rows. Shape: present (n_present,)."""

    booster: Any
    present: np.ndarray
    n_classes: int

    @property
    def n_numbers(self) -> int:
        """Return the number of nodes: each holds one fitted decision, a cut or a leaf's value."""
        return sum(len(tree.splitlines()) for tree in self.booster.get_dump())

    @property
    def n_kept(self) -> int:
        """Return the same."""
        return self.n_numbers

    def probabilities(self, features: Matrix) -> Matrix:
        """Return class probabilities. Shapes: (n, d) -> (n, n_classes), float32."""
        logits = self.booster.inplace_predict(features, predict_type="margin").astype(np.float64).reshape(len(features), -1)
        logits = np.hstack([np.zeros_like(logits), logits]) if logits.shape[1] == 1 else logits
        return spread(softmax(logits), self.present, self.n_classes)

    def save(self, folder: Path) -> None:
        """Write the trees in XGBoost's own binary format, and the classes."""
        self.booster.save_model(folder / FILE)
        write_arrays({"present": self.present, "n_classes": np.array([self.n_classes])}, folder / CLASSES)


def fit(inputs: Inputs, settings: XgboostSettings, *, rng: Rng) -> FeaturePredictor:
    """Boost until the development rows gain no more.

    Raises:
        FitError: If the training rows hold fewer than two classes, or two distributions of XGBoost are installed.
    """
    xgb = _library()
    embed = embed_of(inputs.runtime)
    present, positions = present_classes(inputs.train.labels)
    features = embed(inputs.train.texts)
    n_threads = inputs.runtime.device.n_threads if features.size >= ONE_THREAD_NUMBERS else 1
    train = xgb.QuantileDMatrix(features, positions, weight=row_weights(inputs), nthread=n_threads)
    known = inputs.development.take(np.flatnonzero(np.isin(inputs.development.labels, present)))
    watched = _watched(xgb, train, known, embed(known.texts), present) if len(known) else {}
    trees_per_round = 1 if len(present) == 2 else len(present)
    booster = xgb.train(
        _parameters(settings, len(present), n_threads, rng) | {"device": _grown_on(xgb, inputs.runtime.device)},
        train,
        num_boost_round=max(1, min(settings.max_rounds, settings.max_trees // trees_per_round)),
        early_stopping_rounds=settings.patience if watched else None,
        callbacks=[_reporter(xgb, inputs, settings)],
        verbose_eval=False,
        **watched,
    )
    n_rounds = booster.best_iteration + 1 if watched else booster.num_boosted_rounds()
    kept = booster[:n_rounds]
    kept.set_param({"nthread": 1, "device": "cpu"})
    return FeaturePredictor(Boosted(kept, present, len(inputs.classes)), inputs.runtime, {"n_rounds": n_rounds})


def _watched(xgb: Any, train: Any, known: Part, features: Matrix, present: np.ndarray) -> dict[str, Any]:
    """Return the rows early stopping looks at; classes without training rows cannot be scored by the library."""
    labels = np.searchsorted(present, known.labels)
    return {"evals": [(xgb.QuantileDMatrix(features, labels, ref=train, nthread=1), "development")]}


def _parameters(settings: XgboostSettings, n_present: int, n_threads: int, rng: Rng) -> dict[str, Any]:
    is_binary = n_present == 2
    objective = {"objective": "binary:logistic", "eval_metric": "logloss"}
    objective_of_many = {"objective": "multi:softprob", "eval_metric": "mlogloss", "num_class": n_present}
    return {
        "tree_method": "hist",
        "learning_rate": settings.learning_rate,
        "max_depth": settings.max_depth,
        "subsample": settings.subsample,
        "colsample_bytree": settings.features_per_tree,
        "nthread": n_threads,
        "seed": rng.child("boosting").seed,
        "verbosity": 0,
        **(objective if is_binary else objective_of_many),
    }


def _reporter(xgb: Any, inputs: Inputs, settings: XgboostSettings) -> Any:
    """Return the callback that shows progress and keeps the curve; the library wants a class of its own for it."""

    class Reporter(xgb.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002 - the library's signature
            inputs.monitor.progress("boosting", epoch + 1, settings.max_rounds)
            for losses in evals_log.get("development", {}).values():
                inputs.monitor.record(epoch, development_log_loss=float(losses[-1]))
            return False

    return Reporter()


def _grown_on(xgb: Any, device: Device) -> str:
    """Return where trees are grown: on the GPU where there is one and the library was built for it."""
    return "cuda" if device.kind == "cuda" and xgb.build_info().get("USE_CUDA") else "cpu"


def _library() -> Any:
    """Return the XGBoost module.

    Raises:
        FitError: If both of its distributions are installed; they write the same files, and which one runs is chance.
    """
    import importlib.metadata

    installed = {dist.metadata["Name"] for dist in importlib.metadata.distributions()}
    if {"xgboost", "xgboost-cpu"} <= installed:
        raise FitError(
            "Both xgboost and xgboost-cpu are installed and overwrite each other. Uninstall both, then install one: "
            "xgboost where a GPU is used, xgboost-cpu elsewhere."
        )
    import xgboost

    return xgboost


def load(folder: Path, runtime: Runtime) -> FeaturePredictor:
    """Read the trees."""
    booster = _library().Booster({"nthread": 1})
    booster.load_model(folder / FILE)
    arrays = read_arrays(folder / CLASSES)
    return FeaturePredictor(Boosted(booster, arrays["present"], int(arrays["n_classes"][0])), runtime, read_chosen(folder))


METHOD = Method(
    settings=XgboostSettings,
    fit=fit,
    load=load,
    trains="boosted trees on frozen features",
    source="Chen & Guestrin 2016, arXiv:1603.02754",
    needs=frozenset({Need.EMBEDDINGS}),
    badges=frozenset({"xgboost"}),
)
