"""What one fit may use, in the words of each place it can run: pool slots here, requests on Ray and Kubernetes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunewise.study import Compute

GPU_POOL = "gpu"
_BYTES_PER_GB = 1 << 30


def pool_of(compute: Compute) -> str | None:
    """Return the Dagster pool whose slots bound how many such fits run at once, if any."""
    return compute.pool or (GPU_POOL if compute.gpus else None)


def op_tags(compute: Compute) -> dict[str, Any]:
    """Return the tags that Ray's and Kubernetes' executors read; the in-process ones ignore them."""
    return {"dagster-ray/config": _ray(compute), "dagster-k8s/config": _kubernetes(compute)}


def _ray(compute: Compute) -> dict[str, Any]:
    memory = {} if compute.memory_gb is None else {"memory": int(compute.memory_gb * _BYTES_PER_GB)}
    return {"num_cpus": compute.cpus, "num_gpus": compute.gpus, **memory}


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
