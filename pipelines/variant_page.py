"""One variant as the command line shows it: what it is, what it reached, where its outcomes are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipelines.console import out, table
from tunewise.evaluation.metrics import METRICS
from tunewise.evaluation.outcomes import Place, folder_of, read_outcome
from tunewise.verdict.wording import score, seconds, size

if TYPE_CHECKING:
    from tunewise.home import Home
    from tunewise.outcome import Outcome
    from tunewise.study import Study, Variant


def print_variant(study: Study, name: str, home: Home) -> None:
    """Print the variant called ``name`` and its latest outcome with each seed.

    Raises:
        StudyError: If the study has no such variant.
        ArtifactError: If an outcome is gone or altered.
    """
    variant = study.variant(name)
    _print_plan(variant)
    pointers = {seed: _pointer(Place(study.name, name, seed), home) for seed in study.seeds}
    outcomes = {seed: read_outcome(folder_of(one["key"], home)) for seed, one in pointers.items() if "key" in one}
    if outcomes:
        columns = ("seed", study.metric, "fit", "one text", "peak memory", "trained", "chosen")
        out.print(table(columns, [_line(seed, outcome, study.metric) for seed, outcome in outcomes.items()]))
    for seed, pointer in pointers.items():
        if seed in outcomes:
            marks = "".join(f"\n  {mark}" for mark in outcomes[seed].marks)
            out.print(f"seed {seed}: {outcomes[seed].folder}{marks}", markup=False, soft_wrap=True)
        else:
            out.print(f"seed {seed}: {pointer.get('failed', 'never ran')}", markup=False, soft_wrap=True, style="yellow")


def _print_plan(variant: Variant) -> None:
    method, changed = variant.method, variant.settings.changed()
    out.print(method.summary, style="bold", markup=False)
    out.print(f"Family {method.family}; trains {method.trains}; backbone {variant.backbone or 'none'}.", markup=False)
    out.print(f"Source: {method.source}", markup=False)
    settings = variant.settings.model_dump(mode="json")
    if settings:
        rows = [(key, str(value), "changed" if key in changed else "") for key, value in settings.items()]
        out.print(table(("setting", "value", ""), rows))


def _pointer(place: Place, home: Home) -> dict[str, Any]:
    try:
        return json.loads(place.pointer(home).read_text())
    except FileNotFoundError:
        return {}


def _line(seed: int, outcome: Outcome, metric: str) -> list[str]:
    costs, answers = outcome.costs, outcome.test.answers
    has_metric = answers.probabilities is not None or metric != "log_loss"
    return [
        str(seed),
        score(metric, METRICS[metric](answers) if has_metric else None),
        seconds(costs.fit_seconds + costs.features_seconds),
        f"{costs.latency_ms:.1f} ms",
        size(costs.peak_bytes),
        f"{costs.n_trained_parameters:,}",
        ", ".join(f"{name} {value}" for name, value in outcome.chosen.items()),
    ]
