"""Where the steps of a run started from Dagster's pages are carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from tunewise.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Mapping

EXECUTOR_ENV = "TUNEWISE_EXECUTOR"
NAMES = ("processes", "in_process", "ray", "k8s")
RAY_ADDRESS_ENV = "RAY_JOBS_ADDRESS"
CARRIED = ["DAGSTER_HOME", "TUNEWISE_HOME", "TUNEWISE_STUDIES", EXECUTOR_ENV, RAY_ADDRESS_ENV]
"""Variables without which a step elsewhere would not find the same studies and stores."""


def executor(environment: Mapping[str, str]) -> dg.ExecutorDefinition:
    """Return the executor that ``TUNEWISE_EXECUTOR`` names; a process per step unless it is set.

    One step runs at a time there, so that measured costs are not those of fits disturbing one another;
    ``max_concurrent`` in the launchpad allows more.

    Raises:
        StudyError: If the name is unknown, or Ray's address is not set.
    """
    name = environment.get(EXECUTOR_ENV, "processes")
    if name == "processes":
        return one_by_one
    if name == "in_process":
        return dg.in_process_executor
    if name == "ray":
        return _ray(environment)
    if name == "k8s":
        return _kubernetes()
    raise StudyError(f"{EXECUTOR_ENV}={name!r} is unknown, so nothing could run. Use {', '.join(NAMES)}.")


PRELOADED = ("torch", "transformers.modeling_utils", "sklearn.linear_model", "pipelines.definitions")
"""What the process that steps are forked from imports, once for all of them. None of it may start CUDA: a fork of a
process that did cannot use it, and `tunewise.leases` refuses to."""


def _one_by_one(config: dict[str, object]) -> dict[str, object]:
    return {"max_concurrent": config["max_concurrent"], "start_method": {"forkserver": {"preload_modules": list(PRELOADED)}}}


one_by_one = dg.multiprocess_executor.configured(
    _one_by_one,
    name="processes",
    config_schema={
        "max_concurrent": dg.Field(int, default_value=1, description="Steps at once; costs disturb one another above 1.")
    },
)
"""A process per step, forked from one that has imported the heavy libraries, which saves seconds per step."""


def _ray(environment: Mapping[str, str]) -> dg.ExecutorDefinition:
    from dagster_ray import ray_executor  # pyright: ignore[reportMissingImports] - in the extra `ray`

    if not (address := environment.get(RAY_ADDRESS_ENV)):
        raise StudyError(f"{EXECUTOR_ENV}=ray was given and {RAY_ADDRESS_ENV} is not set. Set it, such as http://127.0.0.1:8265.")
    # Requests stand with each asset: numbers given to this executor would win over them.
    return ray_executor.configured({"ray": {"address": address, "env_vars": [name for name in CARRIED if name in environment]}})


def _kubernetes() -> dg.ExecutorDefinition:
    from dagster_k8s import k8s_job_executor  # pyright: ignore[reportMissingImports] - in the extra `k8s`

    return k8s_job_executor
