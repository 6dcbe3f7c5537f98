"""A whole study in this process, one step after the other: what a notebook calls, without any orchestrator."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from tunewise.contracts import no_progress
from tunewise.errors import BusyError, DataError, StudyError, TunewiseError
from tunewise.home import Home
from tunewise.leases import expect_gpus
from tunewise.privacy import silence_reports
from tunewise.steps import (
    Workplace,
    audit_split,
    compare,
    embed_split,
    fit_variant,
    limiting_backbone,
    note_failure,
    prepare_dataset,
    split_dataset,
    takes_features,
    used_backbones,
)
from tunewise.study import BUDGETS, Study
from tunewise.study_file import read_study

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunewise.artifacts import ArtifactRef
    from tunewise.contracts import Backbone, Progress
    from tunewise.study import Variant
    from tunewise.verdict import Verdict


def run(
    study: Study | Path | str,
    *,
    only: Sequence[str] = (),
    budget: str | None = None,
    home: Home | None = None,
    progress: Progress = no_progress,
) -> Verdict:
    """Fit what a study plans, reuse what is there, and return what the comparison says.

    A variant that fails is named in the verdict and stops no other.

    Args:
        study: A study, or the path of its file; a study's relative paths start from the current folder.
        only: Names of variants; all of them unless given. The comparison shows the others as they are.
        budget: Instead of the study's.
        home: Where everything is kept; ``TUNEWISE_HOME`` or ``~/.tunewise`` unless given.
        progress: Told how far each stage has come.

    Raises:
        StudyError: If the study is wrong or has no variant of a name in ``only``.
        SourceError: If the data cannot be had.
        DataError: If no honest result is possible with the data.
    """
    silence_reports()
    is_file = isinstance(study, (str, Path))
    declared, base = (read_study(Path(study)), Path(study).parent) if is_file else (study, Path.cwd())
    place = Workplace(changed(declared, budget=budget), base.absolute(), home or Home.default(), progress)
    variants = [place.study.variant(name) for name in only] or list(place.study.planned())
    expect_gpus(max(variant.compute.gpus for variant in variants))
    dataset = prepare_dataset(place)
    split = split_dataset(place, dataset)
    backbones = _opened(place, variants)
    known = backbones | _fitted_before(place, set(used_backbones(variants)))
    _refuse_what_blocks(place, dataset, split, known.get(str(limiting_backbone(place.study))))
    for name in dict.fromkeys(str(variant.backbone) for variant in variants if takes_features(variant)):
        if name in backbones:
            embed_split(place, split, backbones[name])
    _fit(place, [one for one in variants if not one.method.needs or one.backbone in backbones], split, backbones)
    return compare(place, known)[0]


def changed(study: Study, *, budget: str | None = None, seeds: Sequence[int] = ()) -> Study:
    """Return ``study`` with another budget or other seeds, where they are given.

    Raises:
        StudyError: If there is no such budget, or a seed stands twice or is none.
    """
    if budget is not None and budget not in BUDGETS:
        raise StudyError(f"budget={budget!r} is unknown. Use {', '.join(BUDGETS)}.")
    if len(set(seeds)) < len(seeds):
        raise StudyError(f"seeds={list(seeds)} hold one twice; each is fitted once. Name different seeds.")
    given = {name: value for name, value in {"budget": budget, "seeds": tuple(seeds) or None}.items() if value is not None}
    declared = {name: getattr(study, name) for name in study.model_fields_set}
    try:
        return Study.model_validate(declared | given)
    except ValidationError as error:
        from tunewise.study_problems import complaints_of, written

        said = " ".join(f"{written(one.loc)}: {one.message}" for one in complaints_of(error, declared | given))
        raise StudyError(f"{', '.join(f'{name}={value!r}' for name, value in given.items())} cannot be. {said}") from error


def _fit(place: Workplace, variants: Sequence[Variant], split: ArtifactRef, backbones: Mapping[str, Backbone]) -> None:
    """Fit all of them; what another process is fitting at the time comes last, and is then waited for and read."""
    later = []
    for variant in variants:
        try:
            fit_variant(place, variant, split, backbones.get(str(variant.backbone)), waits=False)
        except BusyError:
            later.append(variant)
    for variant in later:
        fit_variant(place, variant, split, backbones.get(str(variant.backbone)))


def _opened(place: Workplace, variants: Sequence[Variant]) -> dict[str, Backbone]:
    """Return the backbones by name; what cannot be had fails its own variants alone."""
    from tunewise.backbones.opening import open_backbone

    opened = {}
    for name in used_backbones(variants):
        try:
            opened[name] = open_backbone(place.study.backbone(name), base=place.base, home=place.home, progress=place.progress)
        except TunewiseError as error:
            for variant in variants:
                if variant.backbone == name:
                    note_failure(place, variant, str(error))
    return opened


def _fitted_before(place: Workplace, without: set[str]) -> dict[str, Backbone]:
    """Return the other backbones with which something was fitted: they were fetched then, and the page may show it."""
    from tunewise.backbones.opening import open_backbone

    latest = place.home.study(place.study.name) / "latest"
    fitted = used_backbones(variant for variant in place.study.planned() if (latest / variant.name).is_dir())
    found = {}
    for name in fitted:
        if name not in without:
            with suppress(TunewiseError):
                found[name] = open_backbone(place.study.backbone(name), base=place.base, home=place.home, progress=place.progress)
    return found


def _refuse_what_blocks(place: Workplace, dataset: ArtifactRef, split: ArtifactRef, backbone: Backbone | None) -> None:
    found = audit_split(place, dataset, split, backbone)
    if blocking := [finding for finding in found if finding.is_blocking and not finding.passed]:
        raise DataError(f"No honest result is possible with this data: {' '.join(finding.message for finding in blocking)}")
