"""What one fit may use, in the words of each place it can run: pool slots here, requests on Ray and Kubernetes.

Here its devices are leased besides, see `tunewise.leases`: a slot says how many fits run, a lease on which device.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from tunewise.study import Compute

GPU_POOL = "gpu"

STUDY_TAG = "tunewise/study"
FITS_TAG = "tunewise/fits"
"""Tags of runs that the queue's limits are about: whose run it is, and that it fits."""

_BYTES_PER_GB = 1 << 30

_MODEL = re.compile(r"(?<![A-Za-z0-9])[A-Z]{1,3}\d+[A-Z]*(?![A-Za-z0-9])")
"""The part of a node label that Ray calls a GPU's type by: ``H100`` of ``NVIDIA-H100-80GB-HBM3``."""
_TRACE = 0.001
"""How much of a node's mark a task takes there: so little that the mark never runs out."""


def pool_of(compute: Compute) -> str | None:
    """Return the Dagster pool whose slots bound how many such fits run at once, if any."""
    return compute.pool or (GPU_POOL if compute.gpus else None)


def limit_of(pool: str, instance: DagsterInstance) -> int | None:
    """Return how many steps of ``pool`` run at once in ``instance``; none where nothing limits them."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return None
    limits = {one.name: one.limit for one in storage.get_pool_limits()}
    return limits.get(pool, instance.global_op_concurrency_default_limit)


def op_tags(compute: Compute) -> dict[str, Any]:
    """Return the tags that Ray's and Kubernetes' executors read; the in-process ones ignore them."""
    return {"dagster-ray/config": _ray(compute), "dagster-k8s/config": _kubernetes(compute)}


def _ray(compute: Compute) -> dict[str, Any]:
    asked: dict[str, Any] = {"num_cpus": compute.cpus, "num_gpus": compute.gpus}
    if compute.memory_gb is not None:
        asked["memory"] = int(compute.memory_gb * _BYTES_PER_GB)
    if compute.gpus and compute.gpu_type and (model := _MODEL.search(compute.gpu_type)):
        asked["resources"] = {f"accelerator_type:{model[0]}": _TRACE}
    return asked


def _kubernetes(compute: Compute) -> dict[str, Any]:
    requests = {"cpu": str(compute.cpus)}
    if compute.memory_gb is not None:
        requests["memory"] = f"{compute.memory_gb:g}Gi"
    limits = requests | ({"nvidia.com/gpu": str(compute.gpus)} if compute.gpus else {})
    pod: dict[str, Any] = {}
    if compute.gpus:
        pod["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    if compute.gpu_type:
        pod["node_selector"] = {"nvidia.com/gpu.product": compute.gpu_type}
    return {"container_config": {"resources": {"requests": requests, "limits": limits}}} | (
        {"pod_spec_config": pod} if pod else {}
    )
