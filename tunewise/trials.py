"""Fitting a variant once: reused where its outcome stands, else fitted, scored, stored, reloaded, measured.

The order matters. The clock runs during the fit alone; development and test rows are scored once each, by
the fitted predictor; the stored artefact is loaded again and has to answer bit for bit as the fitted
predictor did; the loaded one, without any cache, is what latency and throughput are measured on. Only then
is the outcome's folder closed, so whatever fails leaves none.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

from tunewise.artifacts import is_whole, new_folder
from tunewise.contracts import Inputs, Need, Runtime, no_progress
from tunewise.device import hardware
from tunewise.effort import affordable, class_weights
from tunewise.errors import ArtifactError, FitError
from tunewise.evaluation.costs import FitMonitor, evenly, measure_predictions, stored_bytes
from tunewise.evaluation.guards import marks_of
from tunewise.evaluation.metrics import score
from tunewise.evaluation.outcomes import ARTEFACT, KIND, folder_of, read_outcome, write_outcome
from tunewise.outcome import Costs, Outcome
from tunewise.provenance import provenance
from tunewise.rng import Rng

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Matrix, Part, Predictor, Progress
    from tunewise.evaluation.costs import FitCosts, PredictCosts
    from tunewise.home import Home
    from tunewise.outcome import Scored
    from tunewise.request import Request

N_COMPARED_TEXTS = 256
"""Test texts that the reloaded artefact has to answer bit for bit as the fitted predictor did."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """One fit that has not been stored."""

    predictor: Predictor
    development: Scored
    costs: FitCosts
    curve: tuple[dict[str, float], ...]
    chosen: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a request is fitted with besides itself."""

    runtime: Runtime
    """Its ``embed`` may use the cache."""
    timed_runtime: Runtime
    """The same without any cache."""
    work: Path
    progress: Progress = no_progress
    features_seconds: float = 0.0


def run_variant(request: Request, *, home: Home, progress: Progress = no_progress) -> tuple[Outcome, bool]:
    """Return the outcome of ``request`` and whether it was reused.

    Where an outcome with the same key stands it is read, in milliseconds and without torch. Two processes
    that ask for the same key do not fit twice: the second waits and reads. A fit that is interrupted leaves no
    outcome and starts anew at the next call; those that were finished are reused.

    Raises:
        FitError: If the fit ends in no usable predictor.
        ArtifactError: If the stored predictor does not answer as the fitted one.
    """
    folder = folder_of(request.key, home)
    if is_whole(folder):
        return read_outcome(folder), True
    work = home.root / "work" / request.key
    work.mkdir(parents=True, exist_ok=True)
    with FileLock(work.with_name(f"{request.key}.lock")):
        if is_whole(folder):
            return read_outcome(folder), True
        _fit_and_store(request, _surroundings(request, work, home, progress), folder)
        shutil.rmtree(work, ignore_errors=True)
    return read_outcome(folder), False


def fit_once(request: Request, around: Surroundings) -> Fitted:
    """Fit ``request``, measure the fit, and score the development rows; nothing is stored and no test row is read.

    Raises:
        FitError: If the predictor's probabilities are not finite.
    """
    monitor = FitMonitor(around.progress)
    inputs = inputs_of(request, around, monitor)
    with monitor.measured(request.device) as costs:
        predictor = request.method.fit(inputs, request.settings, rng=Rng(request.effective_seed))
    development = score(request.split.development, answered(predictor, request.split.development))
    return Fitted(predictor, development, costs(), tuple(monitor.curve), dict(predictor.chosen))


def inputs_of(request: Request, around: Surroundings, monitor: FitMonitor) -> Inputs:
    """Return what the method is given: the rows its budget pays for, and never a test row."""
    split, effort = request.split, request.effort
    train = affordable(split.train, effort.max_train_rows)
    return Inputs(
        classes=split.classes,
        train=train,
        development=split.development,
        runtime=around.runtime,
        monitor=monitor,
        work=around.work,
        epochs=effort.epochs,
        class_weights=class_weights(effort.class_weights, train.labels, len(split.classes)),
        metric=effort.metric,
    )


def answered(predictor: Predictor, part: Part) -> Matrix:
    """Return the predictor's probabilities for ``part``.

    Raises:
        FitError: If one of them is NaN or infinite.
    """
    probabilities = predictor.predict(part.texts)
    if not np.isfinite(probabilities).all():
        n_bad = int((~np.isfinite(probabilities)).any(axis=1).sum())
        raise FitError(
            f"{n_bad} of {len(part)} texts got probabilities that are no finite numbers, so the fit diverged. "
            "Lower its learning rate, or use float32."
        )
    return probabilities


def _surroundings(request: Request, work: Path, home: Home, progress: Progress) -> Surroundings:
    """Return the runtimes; features are computed here, before any clock runs."""
    plain = Runtime(request.device, request.backbone)
    if request.backbone is None or Need.EMBEDDINGS not in request.method.needs:
        return Surroundings(plain, plain, work, progress)
    from tunewise.features import compute_features, embedder_for

    n_rows = request.effort.max_train_rows
    report = compute_features(
        request.split, request.backbone, request.device, home=home, max_train_rows=n_rows, progress=progress
    )
    embedder = embedder_for(request.backbone, request.device, home, progress)
    cached, uncached = replace(plain, embed=embedder), replace(plain, embed=embedder.uncached)
    return Surroundings(cached, uncached, work, progress, report.fit_seconds)


def _fit_and_store(request: Request, around: Surroundings, folder: Path) -> None:
    fitted = fit_once(request, around)
    test = score(request.split.test, answered(fitted.predictor, request.split.test))
    with new_folder(folder, KIND) as staging:
        artefact = staging / ARTEFACT
        artefact.mkdir()
        fitted.predictor.save(artefact)
        _refuse_other_answers(request, fitted.predictor, artefact, around)
        timed = request.method.load(artefact, around.timed_runtime)
        answering = measure_predictions(timed.predict, request.split.test.texts)
        costs = _costs(fitted, answering, artefact, around)
        write_outcome(_outcome(request, fitted, test, costs, staging), staging)


def _refuse_other_answers(request: Request, fitted: Predictor, artefact: Path, around: Surroundings) -> None:
    texts = request.split.test.texts
    sample = [texts[i] for i in evenly(len(texts), N_COMPARED_TEXTS)]
    ours, theirs = fitted.predict(sample), request.method.load(artefact, around.runtime).predict(sample)
    if not np.array_equal(ours, theirs):
        n_rows = int((ours != theirs).any(axis=1).sum())
        raise ArtifactError(
            f"The stored {request.method.name} answers {n_rows} of {len(sample)} texts otherwise than the fitted one "
            f"(largest difference {np.abs(ours - theirs).max():.2g}), so it is not what was scored. No outcome is kept; "
            "its save and load have to agree bit for bit."
        )


def _costs(fitted: Fitted, answering: PredictCosts, artefact: Path, around: Surroundings) -> Costs:
    fit = fitted.costs
    return Costs(
        fit_seconds=fit.seconds,
        fit_cpu_seconds=fit.cpu_seconds,
        features_seconds=around.features_seconds,
        predict_seconds=answering.seconds,
        predict_cpu_seconds=answering.cpu_seconds,
        latency_ms=answering.latency_ms,
        throughput=answering.throughput,
        peak_bytes=fit.peak_bytes,
        peak_above_start_bytes=fit.peak_above_start_bytes,
        device_peak_bytes=fit.device_peak_bytes,
        n_trained_parameters=fitted.predictor.n_trained_parameters,
        n_total_parameters=fitted.predictor.n_total_parameters,
        stored_bytes=stored_bytes(artefact),
        load_at_start=fit.load_at_start,
    )


def _outcome(request: Request, fitted: Fitted, test: Scored, costs: Costs, folder: Path) -> Outcome:
    effort, backbone, is_majority = request.effort, request.backbone, request.method.name == "majority"
    conditions: dict[str, str | int] = {
        "budget": effort.budget,
        "n_train_rows": request.n_train_rows,
        "epochs": effort.epochs,
        "class_weights": effort.class_weights,
        "metric": effort.metric,
    }
    return Outcome(
        key=request.key,
        task="classify",
        method=request.method.name,
        family=request.method.family,
        backbone=backbone.name if backbone else None,
        backbone_sha256=backbone.fingerprint if backbone else None,
        split_sha256=request.split.fingerprint,
        seed=request.effective_seed,
        conditions=conditions,
        classes=request.split.classes,
        development=fitted.development,
        test=test,
        costs=costs,
        hardware=hardware(),
        settings=request.settings.model_dump(mode="json"),
        settings_changed=request.settings.changed(),
        chosen=fitted.chosen,
        # Answering one class at chance level is what the majority baseline is for.
        marks=() if is_majority else marks_of(fitted.development.answers, test.answers, effort.metric),
        curve=fitted.curve,
        provenance=provenance(request),
        folder=folder,
    )
