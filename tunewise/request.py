"""What is asked for when a variant is fitted once, and the key under which the answer is kept."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from tunewise.artifacts import sha256_of_json
from tunewise.code_hash import code_sha256, libraries_of
from tunewise.contracts import Need
from tunewise.errors import StudyError
from tunewise.methods import module_of

if TYPE_CHECKING:
    from tunewise.contracts import Backbone, Device, Method, Settings, Split
    from tunewise.effort import WeightRule
    from tunewise.study import Study, Variant

EMBEDDER = "tunewise.embeddings.embedder"

FORMAT = 1
"""Raised when outcomes are stored in another shape, so that old ones are made again."""

DISTRIBUTIONS = {
    "torch": ("torch",),
    "transformers": ("transformers",),
    "tokenizers": ("tokenizers",),
    "peft": ("peft",),
    "sklearn": ("scikit-learn",),
    "scipy": ("scipy",),
    "xgboost": ("xgboost", "xgboost-cpu"),
    "numpy": ("numpy",),
}
"""Libraries whose versions can change a result, and the distributions they come from."""


@dataclass(frozen=True, eq=False)
class Effort:
    """What a study holds for all its variants alike."""

    budget: str
    """The budget's name, for tables; its numbers below are what counts."""
    max_train_rows: int | None
    epochs: int
    metric: str = "accuracy"
    class_weights: WeightRule = "none"

    @classmethod
    def of(cls, study: Study) -> Effort:
        """Return the effort a study asks for."""
        return cls(study.budget, study.effort.max_train_rows, study.effort.epochs, study.metric, study.class_weights)


@dataclass(frozen=True, eq=False)
class Request:
    """One fit: a method with settings and a seed, on a split, with a backbone, somewhere, with some effort.

    Who asks is no part of it: two variants, or two studies, that ask for the same fit share its outcome.
    """

    method: Method
    settings: Settings
    seed: int
    split: Split
    backbone: Backbone | None
    device: Device
    effort: Effort

    @classmethod
    def of(cls, study: Study, variant: Variant, seed: int, *, split: Split, backbone: Backbone | None, device: Device) -> Request:
        """Return what ``study`` asks for with ``variant`` and ``seed``.

        Raises:
            StudyError: If the method needs a backbone and none is given.
        """
        if variant.method.needs and backbone is None:
            raise StudyError(
                f"{variant.name} needs the backbone {variant.backbone} and none was opened. Open it and give it along."
            )
        own = backbone if variant.method.needs else None
        return cls(variant.method, variant.settings, seed, split, own, device, Effort.of(study))

    @property
    def effective_seed(self) -> int:
        """Return the seed, or 0 where the method draws nothing: one outcome then stands for all seeds."""
        return self.seed if self.method.is_seeded else 0

    @property
    def n_train_rows(self) -> int:
        """Return how many training rows the budget pays for."""
        n_rows = len(self.split.train)
        return n_rows if self.effort.max_train_rows is None else min(n_rows, self.effort.max_train_rows)

    @cached_property
    def determinants(self) -> dict[str, Any]:
        """Return everything that determines the result, as plain JSON values."""
        return {
            **determinants_of_code(self.method),
            "settings": self.settings.model_dump(mode="json"),
            "seed": self.effective_seed,
            "split": self.split.fingerprint,
            "backbone": self.backbone.fingerprint if self.backbone else None,
            "device": asdict(self.device),
            "n_train_rows": self.n_train_rows,
            "epochs": self.effort.epochs,
            "metric": self.effort.metric,
            "class_weights": self.effort.class_weights,
        }

    @cached_property
    def key(self) -> str:
        """Return the hash of `determinants`; the name under which the outcome is kept."""
        return sha256_of_json(self.determinants)


def determinants_of_code(method: Method) -> dict[str, Any]:
    """Return what determines a result without regard to data: method, code, versions of Python and the libraries used."""
    modules = modules_of(method)
    return {
        "format": FORMAT,
        "method": method.name,
        "code": code_sha256(*modules),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "versions": versions_of(libraries_of(*modules)),
    }


def modules_of(method: Method) -> tuple[str, ...]:
    """Return the modules whose code, with what they import, makes a result of ``method``."""
    modules = (module_of(method), "tunewise.effort", "tunewise.evaluation.metrics", "tunewise.rng")
    return (*modules, EMBEDDER) if Need.EMBEDDINGS in method.needs else modules


def versions_of(libraries: tuple[str, ...]) -> dict[str, str]:
    """Return the installed versions of those ``libraries`` that can change a result; none of them is imported."""
    found = {}
    for library in libraries:
        for distribution in DISTRIBUTIONS.get(library, ()):
            try:
                found[library] = version(distribution)
            except PackageNotFoundError:
                continue
    return found
