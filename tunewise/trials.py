"""Fitting a variant once: reused where its outcome stands, else fitted, scored, stored, reloaded, measured.

The order matters. The clock runs during the fit alone; development and test rows are scored once each, by
the fitted predictor; the stored artefact is loaded again and has to answer bit for bit as was scored; the
loaded one, without any cache, is what latency and throughput are measured on. Only then is the outcome's
folder closed, so whatever fails leaves none, and a process that is killed leaves checkpoints to go on from.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tunewise.artifacts import new_folder, set_aside_damaged, sha256_of_json
from tunewise.claims import claimed, work_folder
from tunewise.contracts import Inputs, Need, Runtime, no_progress
from tunewise.device import hardware
from tunewise.effort import affordable, class_weights
from tunewise.errors import ArtifactError, FitError
from tunewise.evaluation.costs import FitMonitor, Stopwatch, measure_predictions, stored_bytes
from tunewise.evaluation.guards import marks_of
from tunewise.evaluation.metrics import score
from tunewise.evaluation.outcomes import ARTEFACT, KIND, folder_of, read_outcome, write_outcome
from tunewise.object_store import is_at_hand, share
from tunewise.outcome import Costs, Outcome
from tunewise.provenance import provenance
from tunewise.rng import Rng

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tunewise.contracts import Matrix, Part, Predictor, Progress
    from tunewise.evaluation.costs import FitCosts, PredictCosts
    from tunewise.home import Home
    from tunewise.outcome import Scored
    from tunewise.request import Request


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


def run_variant(request: Request, *, home: Home, progress: Progress = no_progress, waits: bool = True) -> tuple[Outcome, bool]:
    """Return the outcome of ``request`` and whether it was reused.

    Where an outcome with the same key stands it is read, in milliseconds and without torch; one whose bytes
    were altered is set aside and made again. Of two processes that ask for the same key one fits, and the other
    reads. A gradient fit that is killed goes on from its last checkpoint at the next call, others start anew; no
    half of one is ever an outcome.

    Args:
        request: What is to be fitted.
        home: Where outcomes are kept.
        progress: Told how far it has come, and whether another process is waited for.
        waits: Whether to wait for another process that is fitting the same.

    Raises:
        FitError: If the fit ends in no usable predictor.
        ArtifactError: If the stored predictor does not answer as the fitted one.
        BusyError: If another process is fitting the same and is not waited for.
    """
    folder = folder_of(request.key, home)
    if is_at_hand(folder, home):
        return read_outcome(folder), True
    what = f"{request.method.name}, seed {request.effective_seed}"
    with claimed(request.key, home, what=what, progress=progress, waits=waits):
        set_aside_damaged(folder)
        if is_at_hand(folder, home):
            return read_outcome(folder), True
        # Steps and seconds of another machine are not gone on from: bits and costs would be of two.
        work = work_folder(request.key, home) / sha256_of_json(hardware())[:12]
        work.mkdir(parents=True, exist_ok=True)
        _fit_and_store(request, _surroundings(request, work, home, progress), folder)
        share(folder, home)
        shutil.rmtree(work.parent, ignore_errors=True)
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
    watch = Stopwatch()
    watch.start()
    fitted = fit_once(request, around)
    test = score(request.split.test, answered(fitted.predictor, request.split.test))
    with new_folder(folder, KIND) as staging:
        artefact = staging / ARTEFACT
        artefact.mkdir()
        fitted.predictor.save(artefact)
        timed = request.method.load(artefact, around.timed_runtime)
        answering = measure_predictions(timed.predict, request.split.test.texts)
        stored = _stored_answers(request, answering, artefact, around)
        _refuse_other_answers(request, {"development": fitted.development, "test": test}, stored)
        watch.stop()
        costs = replace(
            _costs(fitted, answering, artefact, around), total_seconds=watch.seconds, total_cpu_seconds=watch.cpu_seconds
        )
        write_outcome(_outcome(request, fitted, test, costs, staging), staging)


def _stored_answers(request: Request, answering: PredictCosts, artefact: Path, around: Surroundings) -> dict[str, Matrix]:
    """Return what the stored predictor answers to whole parts of the split, by the part's name.

    Bits are the same only where a part is answered at once and from the same features. A trunk answered the test
    rows so when it was timed; doing it again would cost as much. Others answer both parts again, from the cache.
    """
    if around.runtime.embed is None and around.runtime.backbone is not None:
        return {"test": answering.answers}
    stored = request.method.load(artefact, around.runtime)
    return {name: stored.predict(part.texts) for name, part in request.split.parts() if name != "train"}


def _refuse_other_answers(request: Request, scored: Mapping[str, Scored], answers: Mapping[str, Matrix]) -> None:
    """Compare all answers of the stored predictor with those that were scored.

    Raises:
        ArtifactError: If one differs in a bit.
    """
    for name, theirs in answers.items():
        ours = scored[name].answers.probabilities
        if ours is None or np.array_equal(ours, theirs):
            continue
        n_rows = int((ours != theirs).any(axis=1).sum())
        raise ArtifactError(
            f"The stored {request.method.name} answers {n_rows} of {len(theirs)} {name} texts otherwise than the fitted one "
            f"(largest difference {np.abs(ours - theirs).max():.2g}), so it is not what was scored. No outcome is kept; "
            "its save and load have to agree bit for bit."
        )


def _costs(fitted: Fitted, answering: PredictCosts, artefact: Path, around: Surroundings) -> Costs:
    fit = fitted.costs
    return Costs(
        fit_seconds=fit.seconds,
        fit_cpu_seconds=fit.cpu_seconds,
        features_seconds=around.features_seconds + fit.features_seconds,
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
        provenance=provenance(request) | {"n_resumes": fitted.costs.n_resumes},
        folder=folder,
    )
