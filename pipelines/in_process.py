"""Runs a study in this process on Dagster's instance, so that its pages show what the command line ran."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.graph import study_assets
from assets.keys import COMPARISON, SPLIT
from pipelines.definitions import resources
from pipelines.instance import prepare_instance
from resources.compute import STUDY_TAG
from tunewise.errors import TunewiseError
from tunewise.leases import expect_gpus
from tunewise.masking import masked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dagster import DagsterEvent, DagsterInstance, ExecuteInProcessResult

    from tunewise.contracts import Progress
    from tunewise.home import Home
    from tunewise.study import Study

PROCESS_TAG, MACHINE_TAG = "tunewise/process", "tunewise/machine"

INTERRUPTION = dg.DagsterExecutionInterruptedError.__name__

# Our own lines say what failed; Dagster's events are on its pages.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Failure:
    """An asset that failed, in words."""

    asset: str
    message: str
    details: str
    """The stack of the error, for those who want it."""


@dataclass(frozen=True)
class Run:
    """What one call of the command line came to."""

    run_id: str
    failures: tuple[Failure, ...]
    has_comparison: bool


def run_study(study: Study, base: Path, home: Home, *, only: Sequence[str], progress: Progress) -> Run:
    """Materialise the assets of ``study``, or those that the variants in ``only`` need, and then its comparison.

    A variant that fails stops no other; the comparison names it.

    Raises:
        StudyError: If ``only`` names what is no variant.
    """
    prepare_instance(home)
    variants = [study.variant(name) for name in only] or study.planned()
    # One process runs them all, and CUDA binds it to the devices it starts with.
    expect_gpus(max(variant.compute.gpus for variant in variants))
    names = [SPLIT, *(variant.name for variant in variants)]
    wanted = dg.AssetSelection.assets(*([study.name, name] for name in names)).upstream()
    comparison = dg.AssetSelection.assets([study.name, COMPARISON])
    assets = study_assets(study, base)
    given = resources(home) | {"progress": progress}
    with dg.DagsterInstance.get() as instance:
        close_abandoned_runs(instance)
        first = _materialize(assets, given, instance, wanted | comparison if not only else wanted, study.name)
        failures = tuple(_failures(first))
        is_compared = _has(first, [study.name, COMPARISON])
        # Dagster starts nothing below a failed asset, and the comparison is wanted then more than ever.
        if not is_compared and _has(first, [study.name, SPLIT]):
            second = _materialize(assets, given, instance, comparison, study.name)
            failures += tuple(_failures(second))
            is_compared = _has(second, [study.name, COMPARISON])
    return Run(first.run_id, failures, is_compared)


def compare_study(study: Study, base: Path, home: Home, progress: Progress) -> Run:
    """Materialise the comparison alone."""
    prepare_instance(home)
    key = [study.name, COMPARISON]
    with dg.DagsterInstance.get() as instance:
        given = resources(home) | {"progress": progress}
        result = _materialize(study_assets(study, base), given, instance, dg.AssetSelection.assets(key), study.name)
    return Run(result.run_id, tuple(_failures(result)), _has(result, key))


def close_abandoned_runs(instance: DagsterInstance) -> None:
    """Mark as failed the runs whose process on this machine is gone, and free the pool slots they held.

    Without a daemon nothing else would, and the next fit in that pool would wait for ever.
    """
    begun = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING])
    for run in instance.get_runs(begun):
        process, machine = run.tags.get(PROCESS_TAG), run.tags.get(MACHINE_TAG)
        if process and machine == platform.node() and not _is_alive(int(process)):
            instance.report_run_failed(run, f"Process {process}, which carried this run, is gone.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _materialize(
    assets: Sequence[dg.AssetsDefinition],
    given: dict[str, object],
    instance: DagsterInstance,
    selection: dg.AssetSelection,
    study: str,
) -> ExecuteInProcessResult:
    # Without the tag of fits: what is run by hand waits in no queue, and nothing in the queue for it.
    tags = {PROCESS_TAG: str(os.getpid()), MACHINE_TAG: platform.node(), STUDY_TAG: study}
    result = dg.materialize(
        assets, run_config=QUIET, instance=instance, resources=given, raise_on_error=False, tags=tags, selection=selection
    )
    # Dagster takes an interruption for a failed step, and would have us go on.
    if any(INTERRUPTION in str(event.step_failure_data.error) for event in _failed_steps(result)):
        raise KeyboardInterrupt
    return result


def _failed_steps(result: ExecuteInProcessResult) -> Sequence[DagsterEvent]:
    return result.filter_events(lambda event: event.is_step_failure)


def _has(result: ExecuteInProcessResult, key: Sequence[str]) -> bool:
    return any(event.asset_key == dg.AssetKey(list(key)) for event in result.get_asset_materialization_events())


def _failures(result: ExecuteInProcessResult) -> Iterator[Failure]:
    for event in _failed_steps(result):
        yield _failure(event)


def _failure(event: DagsterEvent) -> Failure:
    data = event.step_failure_data
    error: Any = data.error
    said = data.user_failure_data.description if data.user_failure_data else None
    chain = [error]
    while (error := chain[-1]) is not None and error.cause is not None:
        chain.append(error.cause)
    ours = {cls.__name__ for cls in _ours(TunewiseError)}
    # What raised ours is in the details; the words are those of the first that is ours.
    error = next((one for one in chain if one is not None and one.cls_name in ours), chain[-1])
    name = (event.step_key or "").partition("__")[2]
    if said is None and error is not None:
        is_ours = error.cls_name in ours
        text = error.message.strip()
        said = text.partition(": ")[2] if is_ours else text
    return Failure(name, masked(said or "The step ended without a word."), masked(error.to_string()) if error else "")


def _ours(root: type) -> Iterator[type]:
    yield root
    for child in root.__subclasses__():
        yield from _ours(child)
