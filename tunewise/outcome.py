"""What is kept of one fit; the only thing the comparison reads.

An outcome knows what determined it and not who asked: two studies, or two names, that ask for the same
fit share one outcome. A `Row` gives it the name under which a study shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from tunewise.contracts import Label, Matrix


@dataclass(frozen=True, eq=False)
class ClassAnswers:
    """Answers of the task ``classify``. Shapes: every array has n_texts rows."""

    labels: np.ndarray
    """int64 true class indices."""
    predicted: np.ndarray
    """int64 predicted class indices."""
    probabilities: Matrix | None
    """float32, (n_texts, n_classes); none where the source answers labels alone."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Answers to one part of the split, with the per-example value of each metric that has one."""

    ids: tuple[str, ...]
    answers: ClassAnswers
    values: dict[str, np.ndarray]
    """``accuracy`` (0 or 1) and, with probabilities, ``log_loss`` (nats). Shape: (n_texts,)."""


@dataclass(frozen=True)
class Costs:
    """Measured, never estimated. Seconds are wall seconds unless named ``cpu``; evaluation is not in the fit."""

    fit_seconds: float
    fit_cpu_seconds: float
    features_seconds: float
    """Seconds that frozen features of the training and development rows took when they were computed; 0 if unused."""
    predict_seconds: float
    """The test rows, without any cache."""
    predict_cpu_seconds: float
    latency_ms: float
    """Median milliseconds of one text at batch 1, without any cache."""
    throughput: float
    """Texts per second at batch 32, without any cache."""
    peak_bytes: int
    """Host memory: highest resident size during the fit."""
    peak_above_start_bytes: int
    device_peak_bytes: int | None
    n_trained_parameters: int
    n_total_parameters: int
    stored_bytes: int
    """What has to be kept besides the backbone."""
    load_at_start: float
    """One-minute load average when the fit began; clearly above the core count the row was measured beside other work."""
    total_seconds: float | None = None
    """From the first second of the fit until its outcome was ready to be stored: fitting, scoring, the check of the
    stored artefact, measuring answers. None in outcomes of versions that did not note it."""
    total_cpu_seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """All that is kept of one fit with one seed."""

    key: str
    """Hash of everything that determines the result."""
    task: Literal["classify"]
    method: str
    family: str
    backbone: str | None
    backbone_sha256: str | None
    split_sha256: str
    """Outcomes are compared only within one split."""
    seed: int
    conditions: dict[str, str | int]
    """What else was held: ``budget``, ``n_train_rows``, ``epochs``, ``class_weights``, ``metric``."""
    classes: tuple[Label, ...]
    development: Scored
    test: Scored
    costs: Costs
    hardware: str
    """Costs are ranked only within one hardware."""
    settings: dict[str, Any]
    settings_changed: dict[str, Any]
    chosen: dict[str, Any]
    marks: tuple[str, ...]
    """Warnings in words, such as ``predicts one class for every text``; a marked outcome is not ranked in silence."""
    curve: tuple[dict[str, float], ...]
    provenance: dict[str, Any]
    """Versions, machine, commit, fingerprints, licences, device, environment variables that matter, date."""
    folder: Path
    """Holds ``outcome.json``, ``predictions.parquet``, ``artefact/`` and ``manifest.json``."""


@dataclass(frozen=True, eq=False)
class Row:
    """One outcome under the name and seed by which a study asked for it."""

    variant: str
    seed: int
    outcome: Outcome
    is_reused: bool = False


@dataclass(frozen=True)
class Missing:
    """A fit that the study plans and that has no outcome."""

    variant: str
    seed: int
    reason: Literal["failed", "never ran", "stale"]
    message: str = ""
    """The error in words where it failed; what changed where it is stale."""
