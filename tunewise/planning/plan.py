"""Making the plan of a study: for every asset, variant and seed whether it runs or is reused, why, and at what cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tunewise.artifacts import is_whole
from tunewise.contracts import Need
from tunewise.device import hardware
from tunewise.effort import affordable
from tunewise.errors import TunewiseError, words_of
from tunewise.evaluation.outcomes import Place, folder_of
from tunewise.features import known_pace, n_missing_features
from tunewise.planning.calibration import calibrate, kept_calibration, pace_of_features
from tunewise.planning.contents import ClassRows, Plan, PlannedFit, PlannedStep
from tunewise.planning.costs import cost_of_past, cost_of_similar, load_now
from tunewise.planning.kept import seconds_besides
from tunewise.planning.past import keys_of_study, latest_of, past_fits
from tunewise.planning.preparing import Setting, prepared
from tunewise.planning.reasons import NEVER, why
from tunewise.request import Request
from tunewise.steps import device_of
from tunewise.verdict.wording import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tunewise.contracts import Split
    from tunewise.planning.costs import Cost
    from tunewise.planning.past import PastFit
    from tunewise.steps import Workplace
    from tunewise.study import Study, Variant

UNKNOWN = "what it needs is not here yet, so it is not known whether its outcome stands"
FEATURE_BYTES = 4
"""Of each number of a feature; random numbers cannot be compressed."""


@dataclass(frozen=True, eq=False)
class _Asked:
    """A planned fit, and the request it makes; none where data or backbone is not at hand."""

    fit: PlannedFit
    request: Request | None = None


def plan_study(
    place: Workplace,
    *,
    only: Sequence[str] = (),
    may_measure: bool = True,
    warm_up: Callable[[], None] | None = None,
    held_bytes: int = 0,
) -> Plan:
    """Return what a run of the study does and costs; nothing is fitted to be kept, and nothing is downloaded.

    Rows are read and sided, as the run would, where they are at hand.

    Args:
        place: The study, and where everything is kept; its progress is told how far measuring has come.
        only: Names of variants; all of them unless given.
        may_measure: Whether what no outcome tells may be measured, which takes seconds per variant. Where not, only what
            is stored is looked at, and some costs stay unknown.
        warm_up: Called before anything is measured: loads what a run's process holds besides, for its memory counts.
        held_bytes: What a run's process holds beyond that while it fits; outcomes of the past hold it already.

    Raises:
        StudyError: If the study has no variant of a name in ``only``.
        SourceError: If a path leads nowhere.
        DataError: If the data cannot be read.
    """
    study, home = place.study, place.home
    variants = [study.variant(name) for name in only] or list(study.planned())
    setting = prepared(place, variants, may_read=may_measure)
    asked = [one for variant in variants for one in _asked(setting, variant)]
    past = past_fits(home) if any(one.fit.todo == "run" for one in asked) else []
    own = keys_of_study(study.name, home)
    told = [_with_reason(setting, one, past, own) for one in asked]
    known = [_with_cost(one, cost) for one in told for cost in [_known_cost(one, past, place, may_measure=may_measure)]]
    done = [_held(one, held_bytes) for one in (_measured(known, place, warm_up) if may_measure else known)]
    requests = [one.request for one in done if one.fit.todo == "run" and one.request]
    return Plan(
        study=study.name,
        budget=study.budget,
        hardware=hardware(),
        steps=tuple(_steps(setting, requests, may_measure=may_measure)),
        fits=tuple(one.fit for one in done),
        downloads=tuple(setting.downloads),
        class_rows=_class_rows(study, setting.split) if setting.split else None,
        run_seconds=seconds_besides(home, has_fits=bool(requests)),
        load=load_now(),
    )


def _asked(setting: Setting, variant: Variant) -> Iterator[_Asked]:
    study, home = setting.place.study, setting.place.home
    backbone = setting.backbones.get(str(variant.backbone)) if variant.method.needs else None
    for seed in study.seeds:
        fit = PlannedFit(variant.name, seed, variant.method.is_seeded, "run", "")
        if variant.method.needs and variant.backbone in setting.refusals:
            yield _Asked(replace(fit, todo="refused", why=setting.refusals[str(variant.backbone)]))
        elif setting.split is None or (variant.method.needs and backbone is None):
            yield _Asked(fit)
        else:
            try:
                device = device_of(variant.compute)
            except TunewiseError as error:
                yield _Asked(replace(fit, todo="refused", why=str(error)))
                continue
            request = Request.of(study, variant, seed, split=setting.split, backbone=backbone, device=device)
            is_there = is_whole(folder_of(request.key, home))
            yield _Asked(replace(fit, todo="reuse" if is_there else "run", key=request.key), request)


def _with_reason(setting: Setting, one: _Asked, past: Sequence[PastFit], own: frozenset[str]) -> _Asked:
    if one.fit.todo != "run":
        return one
    home = setting.place.home
    latest = latest_of(Place(setting.place.study.name, one.fit.variant, one.fit.seed), home)
    if one.request is None:
        return replace(one, fit=replace(one.fit, why=UNKNOWN if "key" in latest else NEVER))
    return replace(one, fit=replace(one.fit, why=why(one.request, past, own, latest, home)))


def _with_cost(one: _Asked, cost: Cost | None) -> _Asked:
    return replace(one, fit=replace(one.fit, cost=cost)) if one.fit.todo == "run" else one


def _held(one: _Asked, n_bytes: int) -> _Asked:
    cost = one.fit.cost
    if cost is None or cost.source != "calibrated":
        return one
    return _with_cost(one, replace(cost, peak_bytes=cost.peak_bytes + n_bytes))


def _known_cost(one: _Asked, past: Sequence[PastFit], place: Workplace, *, may_measure: bool) -> Cost | None:
    """Return what outcomes on this hardware, or a kept calibration, tell of a fit; what it had before where no more is known."""
    if one.fit.todo != "run":
        return None
    if one.request is not None:
        told = cost_of_similar(one.request, past, hardware())
        return told or kept_calibration(one.request, place.home, may_measure=may_measure)
    latest = latest_of(Place(place.study.name, one.fit.variant, one.fit.seed), place.home)
    found = next((before for before in past if before.key == latest.get("key") and before.hardware == hardware()), None)
    return cost_of_past(found) if found else None


def _measured(asked: list[_Asked], place: Workplace, warm_up: Callable[[], None] | None) -> list[_Asked]:
    """Calibrate what nothing tells, one fit for all seeds of a variant; what fails there would fail in the run, too."""
    wanted = {one.fit.variant: one.request for one in asked if one.fit.todo == "run" and one.request and not one.fit.cost}
    found: dict[str, Cost | str] = {}
    if wanted and warm_up:
        warm_up()
    for done, (variant, request) in enumerate(wanted.items()):
        place.progress("trying fits for a moment", done, len(wanted))
        try:
            found[variant] = calibrate(request, place.home, place.progress)
        except Exception as error:  # noqa: BLE001 - a method may raise anything, and a plan tells of it
            message = words_of(error)
            found[variant] = message
    if wanted:
        place.progress("trying fits for a moment", len(wanted), len(wanted))
    return [_with_finding(one, found.get(one.fit.variant)) for one in asked]


def _with_finding(one: _Asked, finding: Cost | str | None) -> _Asked:
    if isinstance(finding, str):
        return replace(one, fit=replace(one.fit, why=f"{one.fit.why}; tried for a moment it failed: {finding}"))
    return _with_cost(one, finding) if finding and one.fit.cost is None else one


def _steps(setting: Setting, requests: Sequence[Request], *, may_measure: bool) -> Iterator[PlannedStep]:
    """Yield the assets besides the variants, in the order in which they run."""
    split = setting.split
    if split is None:
        why_not = "to be downloaded first" if any(one.what == "data" for one in setting.downloads) else "not read yet"
        yield PlannedStep("dataset", "run", why_not)
        yield PlannedStep("split", "run", why_not)
    else:
        n_rows = sum(len(part) for _, part in split.parts())
        sides = ", ".join(f"{count(len(part))} {name}" for name, part in split.parts())
        yield PlannedStep("dataset", "reuse", f"{count(n_rows)} rows{', read now' if setting.was_read else ''}", 0.0)
        yield PlannedStep("split", "reuse", f"{sides} rows", 0.0)
    embedded = {one.backbone.name: one for one in requests if one.backbone and Need.EMBEDDINGS in one.method.needs}
    for request in embedded.values():
        yield _embedding(request, setting.place, may_measure=may_measure)
    yield PlannedStep("comparison", "run", "written after every run", 0.0)


def _embedding(request: Request, place: Workplace, *, may_measure: bool) -> PlannedStep:
    backbone, split = request.backbone, request.split
    if backbone is None:
        raise TypeError("Features are those of a backbone, and the request has none.")
    name = f"embeddings of {backbone.name}"
    parts = (affordable(split.train, request.effort.max_train_rows), split.development, split.test)
    texts = list(dict.fromkeys(text for part in parts for text in part.texts))
    n_missing = n_missing_features(texts, backbone, request.device, place.home)
    if not n_missing:
        return PlannedStep(name, "reuse", f"all {count(len(texts))} texts have features", 0.0)
    pace = pace_of_features(request, place.home) if may_measure else known_pace(backbone, request.device, place.home)
    seconds = pace.seconds_of(texts) * n_missing / len(texts) if pace else None
    told = f"{count(n_missing)} of {count(len(texts))} texts have none yet"
    return PlannedStep(name, "run", told, seconds, FEATURE_BYTES * n_missing * backbone.hidden_size)


def _class_rows(study: Study, split: Split) -> ClassRows:
    train = affordable(split.train, study.effort.max_train_rows)
    counts = Counter(train.labels.tolist())
    return ClassRows(len(train), len(split.train), {str(name): counts[i] for i, name in enumerate(split.classes)})
