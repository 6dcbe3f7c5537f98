"""Dagster's instance below the home folder: no telemetry, and pools that hold even without a daemon."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from filelock import FileLock

from pipelines.postgres import use_postgres
from resources.compute import GPU_POOL
from tunewise.artifacts import write_atomically
from tunewise.capacity import find_gpus
from tunewise.errors import StudyError
from tunewise.privacy import silence_reports
from tunewise.study_problems import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunewise.home import Home

SETTINGS = """\
telemetry:
  enabled: false
# The pages ask for no address.
nux:
  enabled: false
concurrency:
  pools:
    # A slot of a pool is taken by a step, in whichever run and process it is. The pool "gpu" was given as many as the
    # machine had GPUs; every other pool that a study names has one, unless it is given more:
    #   dagster instance concurrency set POOL 2
    granularity: op
    default_limit: 1
  runs:
    # Of what schedules, sensors and the pages start, one run fits at a time: fits side by side would disturb each
    # other's measured costs. Comparisons need not wait for it.
    max_concurrent_runs: 4
    tag_concurrency_limits:
      - key: tunewise/fits
        limit: 1
# A run that does not begin is given up, and what a dead one held is free after a minute; both need a daemon.
run_monitoring:
  enabled: true
  start_timeout_seconds: 300
  free_slots_after_run_end_seconds: 60
# What tunewise says while it works stands among a step's events.
python_logs:
  managed_python_loggers: [tunewise]
  python_log_level: INFO
# Ticks that started nothing are forgotten after a week.
retention:
  sensor:
    purge_after_days: {skipped: 7, failure: 30, success: 90}
  schedule:
    purge_after_days: 90
"""

UNLIMITED = (
    "DAGSTER_HOME=%s was given, which is not %s, and no limit for pools stands in %s: fits that share a GPU may run at once and "
    "disturb one another. Leave DAGSTER_HOME out, or write there: concurrency: {pools: {granularity: op, default_limit: 1}}."
)

log = logging.getLogger(__name__)


def prepare_instance(home: Home) -> Path:
    """Return the folder of Dagster's instance, written at the first use and named to every process started from here.

    An instance the user chose by ``DAGSTER_HOME`` is left as it is, and said to be without limits where it is.
    Without any instance Dagster would keep runs in a temporary folder and let pools limit nothing.
    """
    silence_reports()
    if chosen := os.environ.get("DAGSTER_HOME"):
        if Path(chosen).absolute() != home.dagster and not _limits_pools(Path(chosen)):
            log.warning(UNLIMITED, chosen, home.dagster, Path(chosen) / "dagster.yaml")
        return Path(chosen)
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    settings = home.dagster / "dagster.yaml"
    if not settings.exists():
        home.dagster.mkdir(parents=True, exist_ok=True)
        with FileLock(home.dagster / "first_use.lock"):
            if not settings.exists():
                # Under their name last, so that whatever ends us before has it done again.
                begun = home.dagster / "first_use.yaml"
                write_atomically(begun, SETTINGS)
                _make_stores(home.dagster, begun.name)
                begun.rename(settings)
    if use_postgres(settings):
        _make_stores(home.dagster)
    return home.dagster


def _make_stores(folder: Path, settings: str = "dagster.yaml") -> None:
    """Make the instance's tables, and give the GPU pool as many slots as there are GPUs; it has one as every pool has.

    By one process alone: two that meet an empty folder at once would both mark the tables as theirs, and no process
    could open them any more.
    """
    import dagster as dg

    n_gpus = len(find_gpus())
    with dg.DagsterInstance.from_config(str(folder), settings) as instance:
        if n_gpus > 1:
            instance.event_log_storage.set_concurrency_slots(GPU_POOL, n_gpus)


def _limits_pools(folder: Path) -> bool:
    import yaml

    try:
        said = yaml.safe_load((folder / "dagster.yaml").read_text())
        return said["concurrency"]["pools"]["default_limit"] is not None
    except (OSError, yaml.YAMLError, LookupError, TypeError):
        return False


def launch_assets(selection: str, further: Sequence[str], home: Home) -> NoReturn:
    """Replace this process by ``dg launch`` on the instance of ``home``; its exit code is the command's.

    Args:
        selection: Of assets, in Dagster's words.
        further: Further options of ``dg launch``.
        home: Where everything is kept.

    Raises:
        StudyError: If the selection holds no asset: dg would take that for all assets of all studies.
    """
    prepare_instance(home)
    _refuse_empty(selection)
    dg = str(Path(sys.executable).with_name("dg"))
    project = Path(__file__).parents[1]
    # An installed package has no project file; dg then takes the module itself.
    target = ["--target-path", str(project)] if (project / "pyproject.toml").is_file() else ["-m", "pipelines.definitions"]
    sys.stdout.flush()
    os.execv(dg, [dg, "launch", "--assets", selection, *target, *further])  # noqa: S606 - a list, no shell


def _refuse_empty(selection: str) -> None:
    import dagster as dg

    from pipelines.definitions import defs

    graph = defs().resolve_asset_graph()
    try:
        chosen = dg.AssetSelection.from_string(selection).resolve(graph)
    except dg.DagsterError as error:
        raise StudyError(f"{selection!r} selects nothing: {error}") from error
    if not chosen:
        keys = tuple(key.to_user_string() for key in graph.get_all_asset_keys())
        near = nearest(selection.removeprefix('key:"').removesuffix('"'), keys)
        hint = f" Did you mean 'key:\"{near}\"'?" if near else ""
        raise StudyError(f"{selection!r} selects no asset, and nothing was started. `dg list defs` shows all.{hint}")
