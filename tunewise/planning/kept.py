"""An estimate kept with the run it was made for, and set beside what the run then took."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from tunewise.artifacts import sha256_of_json, write_atomically
from tunewise.device import hardware
from tunewise.evaluation.outcomes import folder_of
from tunewise.planning.past import read_past

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.home import Home
    from tunewise.planning.contents import Plan

ESTIMATE = "estimate.json"
DEFAULT_SECONDS = 12.0
"""A run besides its fits where none was timed yet: starting, importing torch and its kin, the audit, the page. As measured on
two cores of a small server."""
DEFAULT_PAGE_SECONDS = 5.0
N_RUNS = 5
"""Runs whose seconds besides their fits are kept; their median is what the next one is taken to need."""


@dataclass(frozen=True)
class Compared:
    """What one variant was estimated to take and took, all its new fits together; the peak is the highest of them."""

    variant: str
    n_fits: int
    """Fits that were to be done."""
    n_done: int
    """Those of them that have an outcome; the estimate is of these."""
    estimated_seconds: float
    seconds: float
    estimated_cpu_seconds: float
    cpu_seconds: float
    estimated_peak_bytes: int
    peak_bytes: int
    estimated_disk_bytes: int
    disk_bytes: int


def keep_estimate(plan: Plan, home: Home) -> None:
    """Store what a run is estimated to take, unless it has nothing to fit or nothing is known of it."""
    if not plan.to_run or not any(one.cost for one in plan.to_run):
        return
    fits = [{"variant": one.variant, "seed": one.seed, "key": one.key} | _costs(one) for one in plan.to_run if one.cost]
    note = {
        "made": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "hardware": plan.hardware,
        "seconds": plan.seconds,
        "peak_bytes": plan.peak_bytes,
        "disk_bytes": plan.disk_bytes,
        "n_of_unknown_cost": len(plan.unknown),
        "fits": fits,
        "took_seconds": None,
    }
    write_atomically(_file(plan.study, home), json.dumps(note, indent=1))


def note_end(plan: Plan, took_seconds: float, home: Home) -> None:
    """Note how long the run took, and learn from it what a run takes besides its fits.

    Args:
        plan: What it was estimated to take; its fits are done or failed.
        took_seconds: Wall seconds of the whole run.
        home: Where all is kept.
    """
    note = read_estimate(plan.study, home)
    if note and {one["key"] for one in note["fits"]} == {one.key for one in plan.to_run if one.cost}:
        write_atomically(_file(plan.study, home), json.dumps(note | {"took_seconds": took_seconds}, indent=1))
    fitted = [read_past(folder_of(one.key, home)) if one.key else None for one in plan.to_run]
    if all(fitted) and all(step.seconds is not None for step in plan.steps):
        spent = sum(one.total_seconds for one in fitted if one) + sum(step.seconds or 0.0 for step in plan.steps)
        _learn(max(0.0, took_seconds - spent), home, has_fits=bool(fitted))


def read_estimate(study: str, home: Home) -> dict[str, Any] | None:
    """Return the estimate of the study's latest run that fitted something; none where none was kept."""
    try:
        return json.loads(_file(study, home).read_text())
    except (OSError, ValueError):
        return None


def compared(study: str, home: Home) -> tuple[Compared, ...]:
    """Return estimate and fact of each variant that the latest estimated run fitted, in its order."""
    note = read_estimate(study, home)
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for fit in note["fits"] if note else ():
        by_variant.setdefault(fit["variant"], []).append(fit)
    found = (_compared(variant, fits, home) for variant, fits in by_variant.items())
    return tuple(one for one in found if one.n_done)


def seconds_besides(home: Home, *, has_fits: bool) -> float:
    """Return the seconds that a run takes besides fits and features, as the latest runs on this hardware did."""
    known = _besides(home).get(_kind(has_fits=has_fits), [])
    return median(known) if known else DEFAULT_SECONDS if has_fits else DEFAULT_PAGE_SECONDS


def _compared(variant: str, fits: list[dict[str, Any]], home: Home) -> Compared:
    done = [(fit, past) for fit in fits if fit["key"] and (past := read_past(folder_of(fit["key"], home)))]
    return Compared(
        variant=variant,
        n_fits=len(fits),
        n_done=len(done),
        estimated_seconds=sum(fit["seconds"] for fit, _ in done),
        seconds=sum(past.total_seconds for _, past in done),
        estimated_cpu_seconds=sum(fit["cpu_seconds"] for fit, _ in done),
        cpu_seconds=sum(past.total_cpu_seconds for _, past in done),
        estimated_peak_bytes=max((fit["peak_bytes"] for fit, _ in done), default=0),
        peak_bytes=max((past.costs.peak_bytes for _, past in done), default=0),
        estimated_disk_bytes=sum(fit["disk_bytes"] for fit, _ in done),
        disk_bytes=sum(past.n_bytes for _, past in done),
    )


def _costs(fit: Any) -> dict[str, Any]:
    return asdict(fit.cost)


def _learn(seconds: float, home: Home, *, has_fits: bool) -> None:
    known = _besides(home)
    kind = _kind(has_fits=has_fits)
    known[kind] = [*known.get(kind, []), round(seconds, 2)][-N_RUNS:]
    write_atomically(_besides_file(home), json.dumps(known))


def _besides(home: Home) -> dict[str, list[float]]:
    try:
        return json.loads(_besides_file(home).read_text())
    except (OSError, ValueError):
        return {}


def _kind(*, has_fits: bool) -> str:
    return "with_fits" if has_fits else "page_alone"


def _besides_file(home: Home) -> Path:
    return home.root / "cache" / "calibration" / f"run-{sha256_of_json(hardware())}.json"


def _file(study: str, home: Home) -> Path:
    return home.study(study) / ESTIMATE
