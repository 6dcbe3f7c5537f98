"""Dagster's instance below the home folder: no telemetry, and pools that hold even without a daemon."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tunewise.artifacts import write_atomically
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
# A pool without a limit of its own lets one fit run at a time; raise it where there are more GPUs:
#   dagster instance concurrency set gpu 2
concurrency:
  pools:
    granularity: op
    default_limit: 1
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
"""


def prepare_instance(home: Home) -> Path:
    """Return the folder of Dagster's instance, written at the first use and named to every process started from here.

    An instance the user chose by ``DAGSTER_HOME`` is left as it is. Without any instance Dagster would
    keep runs in a temporary folder and let pools limit nothing.
    """
    silence_reports()
    if chosen := os.environ.get("DAGSTER_HOME"):
        return Path(chosen)
    settings = home.dagster / "dagster.yaml"
    if not settings.exists():
        write_atomically(settings, SETTINGS)
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    return home.dagster


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
