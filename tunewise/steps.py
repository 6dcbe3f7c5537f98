"""The steps of a study as plain functions: each stores a folder, named by what determines it, and returns its reference.

A step whose folder is whole does nothing. Assets call these, and so does `tunewise.running` where there is
no orchestrator.
"""

from __future__ import annotations

import json
import logging
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tunewise.artifacts import (
    ArtifactRef,
    is_whole,
    new_folder,
    read_folder,
    set_aside_damaged,
    sha256_of_file,
    sha256_of_json,
)
from tunewise.claims import claimed
from tunewise.code_hash import code_sha256
from tunewise.contracts import Need, no_progress
from tunewise.device import apply, detect
from tunewise.errors import BusyError, StudyError, TunewiseError, words_of
from tunewise.history import note_comparison
from tunewise.leftovers import clear_once
from tunewise.object_store import is_at_hand, share
from tunewise.outcome import Missing, Row
from tunewise.sources import ArchiveSource, HubSource, fetch_file, parse
from tunewise.sources.hub_data import at_noted_commit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import numpy as np

    from tunewise.contracts import Backbone, Device, Progress, Split, Texts
    from tunewise.data.dataset import Dataset
    from tunewise.data.findings import Finding
    from tunewise.features import FeaturesReport
    from tunewise.home import Home
    from tunewise.study import Compute, Data, PackageFile, Study, Variant
    from tunewise.verdict import Verdict

FINDINGS, REPORT, FITS = "findings.json", "features.json", "fits.json"
LENGTHS = "text_lengths"
"""The check that needs a backbone."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workplace:
    """A study, where its relative paths start from, and where everything is kept."""

    study: Study
    base: Path
    home: Home
    progress: Progress = no_progress


@dataclass(frozen=True)
class Fits:
    """What fitting one variant on every seed came to."""

    rows: tuple[Row, ...]
    missing: tuple[Missing, ...]
    reference: ArtifactRef | None
    """Names the outcomes; none where a seed has none."""


def device_of(compute: Compute) -> Device:
    """Return where a fit runs: as many threads and as much GPU as the study says, or all there is where it says nothing.

    Raises:
        StudyError: If it asks for a GPU and none is here.
    """
    said = compute.model_fields_set
    device = detect(compute.cpus if "cpus" in said else None, allow_gpu="gpus" not in said or compute.gpus > 0)
    if compute.gpus and device.kind != "cuda" and not compute.cpu_fallback:
        raise StudyError(
            f"compute.gpus={compute.gpus} was given and this process sees no CUDA device, so the fit would run on the CPU and "
            "its costs be taken for a GPU's. Run it where there is one, or remove the line."
        )
    return device


def prepare_dataset(place: Workplace) -> ArtifactRef:
    """Store the study's labelled rows.

    They are read anew when a file's bytes, what the study says of them, or the code that reads them is
    another. A revision of a hub stands still until it is named anew.

    Raises:
        SourceError: If a table cannot be had.
        DataError: If one cannot be read, or holds no classes that could be learned.
    """
    data = place.study.data

    def write(folder: Path) -> None:
        from tunewise.data.dataset import build_dataset, write_dataset

        pinned = _at_noted_commits(data, place)
        write_dataset(build_dataset(pinned, base=place.base, home=place.home, progress=place.progress), folder)

    return _stored(place, "dataset", key_of_dataset(place), write)


def key_of_dataset(place: Workplace) -> str:
    """Return the hash of all that determines the study's rows; files are read for it, a hub is not asked.

    Raises:
        SourceError: If a table cannot be had.
    """
    data = place.study.data
    said = data.model_dump(mode="json", exclude={"split": {"salt"}})
    content = [_content(source, place) for source in tables_of(place.study)]
    return sha256_of_json([said, content, code_sha256("tunewise.data.dataset")])


def tables_of(study: Study) -> tuple[str | PackageFile, ...]:
    """Return where the study's tables come from: its source, and those of development and test rows that have their own."""
    rule = study.data.split
    own = [source for source in (rule.development, rule.test) if not isinstance(source, (int, float))]
    return (study.data.source, *own)


def _at_noted_commits(data: Data, place: Workplace) -> Data:
    """Return ``data`` with each table of a hub at the commit that was noted for the study."""

    def noted(source: Any) -> Any:
        origin = None if isinstance(source, (int, float)) else parse(source)
        if not isinstance(origin, HubSource):
            return source
        found = at_noted_commit(origin, place.home.study(place.study.name))
        return f"hub:{found.repository}@{found.revision}"

    rule = data.split.model_copy(update={name: noted(getattr(data.split, name)) for name in ("development", "test")})
    return data.model_copy(update={"source": noted(data.source), "split": rule})


def read_stored_dataset(reference: ArtifactRef) -> Dataset:
    """Return the rows that `prepare_dataset` stored."""
    from tunewise.data.dataset import read_dataset

    return read_dataset(reference.folder)


def split_dataset(place: Workplace, dataset: ArtifactRef) -> ArtifactRef:
    """Store the side of every row.

    Raises:
        DataError: If a side is left empty, or a class has no training row.
    """
    rule = place.study.data.split
    salt = rule.salt or place.study.name
    key = sha256_of_json([dataset.sha256, rule.model_dump(mode="json"), salt, code_sha256("tunewise.data.split")])

    def write(folder: Path) -> None:
        from tunewise.data.split import make_split, write_split

        write_split(make_split(read_stored_dataset(dataset), rule, salt), folder)

    return _stored(place, "split", key, write)


def read_stored_split(reference: ArtifactRef) -> Split:
    """Return the split that `split_dataset` stored."""
    from tunewise.data.split import read_split

    return read_split(reference.folder)


def audit_split(
    place: Workplace, dataset: ArtifactRef, split: ArtifactRef, backbone: Backbone | None = None, *, why_none: str = ""
) -> tuple[Finding, ...]:
    """Return what the audit says of the rows and their split, stored at the first call.

    Args:
        place: The study.
        dataset: What `prepare_dataset` returned.
        split: What `split_dataset` returned.
        backbone: Whose limit the texts' lengths are held against; lengths are not checked without one.
        why_none: Why there is no backbone although the study has one; said where the lengths would be.
    """
    from tunewise.data.findings import Finding

    limit = None if backbone is None else [backbone.tokenizer_sha256, backbone.max_tokens]
    key = sha256_of_json([dataset.sha256, split.sha256, limit, code_sha256("tunewise.data.audit")])

    def write(folder: Path) -> None:
        from tunewise.data.audit import audit

        count = None if backbone is None else _counter_of_tokens(backbone)
        found = audit(
            read_stored_dataset(dataset),
            read_stored_split(split),
            token_lengths=count,
            max_tokens=None if backbone is None else backbone.max_tokens,
        )
        (folder / FINDINGS).write_text(json.dumps([finding.to_json() for finding in found], indent=1))

    stored = json.loads((_stored(place, "audit", key, write).folder / FINDINGS).read_text())
    found = tuple(Finding(one["name"], one["passed"], one["message"], tuple(one["rows"])) for one in stored)
    if backbone is not None or not why_none:
        return found
    return tuple(replace(one, message=f"Not checked: {why_none}") if one.name == LENGTHS else one for one in found)


def embed_split(place: Workplace, split: ArtifactRef, backbone: Backbone) -> ArtifactRef:
    """Put the features of the split's rows into the row cache and store a report of what that took."""
    hold_gpus_for(place, place.study.compute, "embeddings")
    device, n_rows = device_of(place.study.compute), place.study.effort.max_train_rows
    state = [device.kind, device.dtype, device.n_threads]
    key = sha256_of_json([split.sha256, backbone.fingerprint, state, n_rows, code_sha256("tunewise.features")])

    def write(folder: Path) -> None:
        from tunewise.features import compute_features

        apply(device)
        report = compute_features(
            read_stored_split(split), backbone, device, home=place.home, max_train_rows=n_rows, progress=place.progress
        )
        (folder / REPORT).write_text(json.dumps(report.to_json(), indent=1))

    return _stored(place, "embeddings", key, write)


def read_stored_report(reference: ArtifactRef) -> FeaturesReport:
    """Return the report that `embed_split` stored."""
    from tunewise.features import FeaturesReport

    return FeaturesReport(**json.loads((reference.folder / REPORT).read_text()))


def fit_variant(place: Workplace, variant: Variant, split: ArtifactRef, backbone: Backbone | None, *, waits: bool = True) -> Fits:
    """Fit ``variant`` on every seed of the study, reusing the outcomes there are.

    A seed that fails is noted as failed and stops no other. What interrupts the process is no failure: the
    next call reuses the seeds that were finished and goes on with the one it fell in, as `run_variant` says. Seeds that
    another process is fitting are left for last, and then waited for. Where the settings are not those that the
    study declares, what comes of them counts for this call alone: the latest outcomes stay the latest.

    Args:
        place: The study.
        variant: One of its variants.
        split: What `split_dataset` returned.
        backbone: The variant's, if it has one.
        waits: Whether to wait for seeds that another process is fitting.

    Raises:
        BusyError: If there are some and they are not waited for.
    """
    try:
        hold_gpus_for(place, variant.compute, variant.name, is_needed=bool(variant.method.needs))
    except TunewiseError as error:
        return Fits((), note_failure(place, variant, str(error)), None)
    seeds = place.study.seeds
    stored = read_stored_split(split)
    is_declared = variant.settings.model_dump() == place.study.variant(variant.name).settings.model_dump()
    found: dict[int, Row | Missing] = {}
    for seed, is_last in (*((seed, False) for seed in seeds), *((seed, True) for seed in seeds)):
        if seed in found:
            continue
        place.progress(f"{variant.name}: seeds", len(found), len(seeds))
        with nullcontext() if is_last else suppress(BusyError):
            found[seed] = _fit_seed(place, variant, seed, stored, backbone, waits=waits and is_last)
            if is_declared:
                _note(place, found[seed])
    place.progress(f"{variant.name}: seeds", len(seeds), len(seeds))
    in_order = [found[seed] for seed in seeds]
    rows = [one for one in in_order if isinstance(one, Row)]
    missing = [one for one in in_order if isinstance(one, Missing)]
    return Fits(tuple(rows), tuple(missing), None if missing else _store_fits(place, rows))


def hold_gpus_for(place: Workplace, compute: Compute, name: str, *, is_needed: bool = True) -> None:
    """Lease the GPUs that a step of the study may use, and name them to CUDA before anything starts it.

    Args:
        place: The study.
        compute: What the step may use.
        name: The step's, for those who wait.
        is_needed: Whether a GPU would serve it; one that the study asks for is leased all the same.

    Raises:
        StudyError: If this machine can never carry the step out.
        FitError: If CUDA was started too early.
    """
    from tunewise.capacity import refuse_unfit
    from tunewise.leases import hold_gpus

    if is_needed or compute.gpus:
        hold_gpus(compute, home=place.home, holder=f"{place.study.name}/{name}", progress=place.progress)
    else:
        refuse_unfit(compute, ())


def note_failure(place: Workplace, variant: Variant, message: str) -> tuple[Missing, ...]:
    """Note that no seed of ``variant`` could be fitted, and return what is missing."""
    failed = tuple(Missing(variant.name, seed, "failed", message) for seed in place.study.seeds)
    for one in failed:
        _note(place, one)
    return failed


def _fit_seed(
    place: Workplace, variant: Variant, seed: int, split: Split, backbone: Backbone | None, *, waits: bool
) -> Row | Missing:
    from tunewise.evaluation.outcomes import folder_of
    from tunewise.request import Request
    from tunewise.trials import run_variant

    try:
        device = device_of(variant.compute)
        request = Request.of(place.study, variant, seed, split=split, backbone=backbone, device=device)
        if variant.method.needs and not is_whole(folder_of(request.key, place.home)):
            apply(device)
        outcome, is_reused = run_variant(request, home=place.home, progress=place.progress, waits=waits)
    except BusyError:
        raise
    except Exception as error:
        message = words_of(error)
        log.warning("%s, seed %d, failed: %s", variant.name, seed, message, exc_info=error)
        return Missing(variant.name, seed, "failed", message)
    return Row(variant.name, seed, outcome, is_reused)


def _note(place: Workplace, fitted: Row | Missing) -> None:
    """Note that this is the latest of its variant and seed."""
    from tunewise.evaluation.outcomes import Place, point_to, point_to_failure

    where = Place(place.study.name, fitted.variant, fitted.seed)
    if isinstance(fitted, Row):
        point_to(fitted.outcome, where, place.home, is_reused=fitted.is_reused)
    else:
        point_to_failure(fitted.message, where, place.home)


def compare(place: Workplace, backbones: Mapping[str, Backbone] | None = None) -> tuple[Verdict, ArtifactRef]:
    """Write the comparison of the outcomes there are, naming those that failed, are stale or never ran.

    Args:
        place: The study; its page is written into its folder.
        backbones: Those of the study's that can be had, by name; an outcome of another one is stale.
    """
    from tunewise.evaluation.outcomes import latest_rows
    from tunewise.planning.kept import compared
    from tunewise.verdict import build_verdict, write_page
    from tunewise.verdict.earlier import earlier_of

    dataset = prepare_dataset(place)
    reference = split_dataset(place, dataset)
    split = read_stored_split(reference)
    opened = backbones or {}
    fingerprints = {name: backbone.fingerprint for name, backbone in opened.items()}
    rows, missing = latest_rows(place.study, place.home, split.fingerprint, backbones=fingerprints)
    limiting = limiting_backbone(place.study)
    found = audit_split(
        place, dataset, reference, opened.get(str(limiting)), why_none=f"backbone {limiting} is not at hand." if limiting else ""
    )
    texts = dict(zip(split.test.ids, split.test.texts, strict=True))
    verdict = build_verdict(
        place.study,
        rows,
        missing,
        texts=texts,
        findings=[finding.to_json() for finding in found],
        estimates=compared(place.study.name, place.home),
        earlier=earlier_of(place.study, rows, split.fingerprint, place.home),
    )
    page = write_page(verdict, page_folder(place))
    note_comparison(place.study.name, rows, split_sha256=split.fingerprint, metric=place.study.metric, home=place.home)
    return verdict, read_folder(page.parent)


def page_folder(place: Workplace) -> Path:
    """Return the folder of the study's page."""
    return place.home.study(place.study.name) / "comparison"


def used_backbones(variants: Iterable[Variant]) -> tuple[str, ...]:
    """Return the backbones that some of ``variants`` use, the first first."""
    return tuple(dict.fromkeys(variant.backbone for variant in variants if variant.backbone and variant.method.needs))


def limiting_backbone(study: Study) -> str | None:
    """Return the name of the backbone whose limit the texts' lengths are held against: the first that is used."""
    return next(iter(used_backbones(study.planned())), None)


def takes_features(variant: Variant) -> bool:
    """Say whether a variant is fitted on frozen features."""
    return Need.EMBEDDINGS in variant.method.needs


def _store_fits(place: Workplace, rows: list[Row]) -> ArtifactRef:
    """Store the list of the outcomes, which stay where they are."""
    listed = [{"seed": row.seed, "key": row.outcome.key, "folder": str(row.outcome.folder)} for row in rows]
    return _stored(place, "fits", sha256_of_json(listed), lambda folder: _write_json(folder / FITS, listed))


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1))


def _counter_of_tokens(backbone: Backbone) -> Callable[[Texts], np.ndarray]:
    """Return a function that counts a text's tokens as the backbone sees them, before any is cut."""
    import numpy as np

    from tunewise.backbones.loading import load_tokenizer

    tokenizer = load_tokenizer(backbone)

    def count(texts: Texts) -> np.ndarray:
        firsts = [text if isinstance(text, str) else text[0] for text in texts]
        seconds = None if not texts or isinstance(texts[0], str) else [text[1] for text in texts]
        encoded = tokenizer(firsts, seconds, truncation=False, verbose=False)["input_ids"]
        return np.array([len(ids) for ids in encoded])

    return count


def _content(source: str | PackageFile, place: Workplace) -> list[str]:
    """Return what tells one state of a source from another."""
    origin = parse(source)
    if isinstance(origin, ArchiveSource):
        return ["archive", origin.sha256, origin.member]
    if isinstance(origin, HubSource):
        return ["hub", origin.repository, at_noted_commit(origin, place.home.study(place.study.name)).revision]
    return ["file", sha256_of_file(fetch_file(source, base=place.base, home=place.home, progress=place.progress))]


def _stored(place: Workplace, kind: str, key: str, write: Callable[[Path], None]) -> ArtifactRef:
    """Return the reference of the folder that ``key`` determines, letting ``write`` fill it where it is not sound.

    Of two processes that want it one writes; what dead ones left is cleared away before.
    """
    clear_once(place.home)
    target = place.home.artifacts / kind / key
    if not is_at_hand(target, place.home):
        with claimed(key, place.home, what=kind, progress=place.progress):
            set_aside_damaged(target)
            if not is_at_hand(target, place.home):
                with new_folder(target, kind) as folder:
                    write(folder)
                share(target, place.home)
    return read_folder(target)
