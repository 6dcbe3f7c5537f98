"""Majority class: answers the most frequent training class whatever the text says.

The probabilities are the class shares of the training rows, so that its log loss is the entropy a
model has to get below. A variant that does not beat it has learned nothing.

Source: the no-information rate, Kuhn & Johnson 2013, "Applied Predictive Modeling", section 11.2.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tunewise.contracts import Method, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Inputs, Matrix, Runtime, Texts
    from tunewise.rng import Rng

FILE = "shares.json"


class MajoritySettings(Settings):
    """The majority class has no settings."""


@dataclass(frozen=True)
class MajorityPredictor:
    """Holds the share of each class. Shape: (n_classes,)."""

    shares: tuple[float, ...]
    n_trained_parameters: int = 0
    n_total_parameters: int = 0
    chosen: dict[str, Any] = field(default_factory=dict)

    def predict(self, texts: Texts) -> Matrix:
        """Return the same row of shares for every text. Shape: (n_texts, n_classes)."""
        import numpy as np

        return np.tile(np.array(self.shares, dtype=np.float32), (len(texts), 1))

    def save(self, folder: Path) -> None:
        """Write the shares as JSON."""
        (folder / FILE).write_text(json.dumps(self.shares))


def fit(inputs: Inputs, settings: MajoritySettings, *, rng: Rng) -> MajorityPredictor:  # noqa: ARG001 - the contract's signature
    """Count the training classes."""
    import numpy as np

    counts = np.bincount(inputs.train.labels, minlength=len(inputs.classes))
    return MajorityPredictor(tuple(float(share) for share in counts / counts.sum()))


def load(folder: Path, runtime: Runtime) -> MajorityPredictor:  # noqa: ARG001 - the contract's signature
    """Read the shares."""
    return MajorityPredictor(tuple(json.loads((folder / FILE).read_text())))


METHOD = Method(
    settings=MajoritySettings,
    fit=fit,
    load=load,
    trains="nothing",
    source="Kuhn & Johnson 2013, section 11.2",
    is_seeded=False,
)
