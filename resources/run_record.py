"""An outcome as a run shows it: tags, parameters, figures, curves, data set; plain values for any tracker."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tunewise.masking import masked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunewise.outcome import Row
    from tunewise.study import Study

MAX_PARAM = 500
"""Longest parameter every tracking store keeps whole."""


@dataclass(frozen=True)
class StudyCard:
    """All that recording its runs has to know of a study; kept with what waits, so that its file may be gone by then."""

    name: str
    description: str
    source: str
    experiment: str
    uri: str | None
    uri_env: str | None

    @classmethod
    def of(cls, study: Study) -> StudyCard:
        """Return the card of a study."""
        tracking = study.tracking
        source = masked(str(study.data.source))
        return cls(study.name, study.description, source, tracking.experiment or study.name, tracking.uri, tracking.uri_env)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)


def tags_of(study: StudyCard, row: Row) -> dict[str, str]:
    """Return what runs are found by, and the marks that stand beside a result."""
    outcome = row.outcome
    return {
        "study": study.name,
        "role": "outcome",
        "variant": row.variant,
        "method": outcome.method,
        "family": outcome.family,
        "backbone": outcome.backbone or "none",
        "seed": str(row.seed),
        "outcome_key": outcome.key,
        "outcome_folder": str(outcome.folder),
        "marks": "; ".join(outcome.marks),
        "hardware": outcome.hardware,
    }


def params_of(row: Row) -> dict[str, str]:
    """Return settings, conditions and what was chosen on development data."""
    outcome = row.outcome
    named = (
        dict(outcome.settings) | dict(outcome.conditions) | {f"chosen.{name}": value for name, value in outcome.chosen.items()}
    )
    return {name: _plain(value) for name, value in named.items()}


def figures_of(row: Row) -> dict[str, float]:
    """Return metrics on test and development rows and the measured costs, by name."""
    return dict(_figures(row))


def curve_of(row: Row) -> list[tuple[str, float, int]]:
    """Return every point of an outcome's curves as name, value and step."""
    return [
        (f"curve.{name}", float(value), int(point.get("step", 0)))
        for point in row.outcome.curve
        for name, value in point.items()
        if name != "step" and _is_number(value)
    ]


def dataset_of(study: StudyCard, row: Row) -> dict[str, str]:
    """Return the split as a data set known by its fingerprint."""
    outcome = row.outcome
    source = {"source": study.source, "split_sha256": outcome.split_sha256}
    profile = {"n_development_rows": len(outcome.development.ids), "n_test_rows": len(outcome.test.ids)}
    return {
        "name": study.name,
        # Stores keep 36 characters of a digest.
        "digest": outcome.split_sha256[:32],
        "source_type": "tunewise",
        "source": json.dumps(source),
        "profile": json.dumps(profile),
    }


def _figures(row: Row) -> Iterator[tuple[str, float]]:
    from tunewise.evaluation.metrics import METRICS

    for part in ("test", "development"):
        answers = getattr(row.outcome, part).answers
        for name, metric in METRICS.items():
            if answers.probabilities is not None or name != "log_loss":
                yield f"{part}_{name}", float(metric(answers))
    for name, value in asdict(row.outcome.costs).items():
        if _is_number(value):
            yield name, float(value)


def _plain(value: Any) -> str:
    text = masked(value if isinstance(value, str) else json.dumps(value, default=str))
    return text if len(text) <= MAX_PARAM else f"{text[: MAX_PARAM - 1]}…"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
